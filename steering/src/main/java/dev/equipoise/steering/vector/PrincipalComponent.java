package dev.equipoise.steering.vector;

import org.apache.commons.math3.linear.Array2DRowRealMatrix;
import org.apache.commons.math3.linear.EigenDecomposition;

/**
 * The first right singular vector of a matrix X of {@code [n][width]}, in double.
 *
 * @param direction v, unit length, sign arbitrary; NaN where {@code spread} is 0
 * @param spread the singular value {@code |X v|}
 */
record PrincipalComponent(double[] direction, double spread) {
    /** By the eigenvectors of the smaller of {@code X X^T} and {@code X^T X}: pairs are few, hidden states wide. */
    static PrincipalComponent of(final double[][] rows) {
        final int width = rows[0].length;
        final double[] v;
        if (rows.length <= width) {
            final double[] u = leadingEigenvector(gram(rows));
            v = new double[width];
            for (int i = 0; i < rows.length; i++) {
                for (int j = 0; j < width; j++) {
                    v[j] += u[i] * rows[i][j];
                }
            }
        } else {
            v = leadingEigenvector(gram(transposed(rows)));
        }
        final double norm = Math.sqrt(dot(v, v));
        for (int j = 0; j < width; j++) {
            v[j] /= norm;
        }
        double squares = 0;
        for (final double[] row : rows) {
            final double projection = norm == 0 ? 0 : dot(row, v);
            squares += projection * projection;
        }
        return new PrincipalComponent(v, Math.sqrt(squares));
    }

    static double dot(final double[] a, final double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    // Mirrored rather than computed twice: the decomposition takes only what is symmetric to the last bits.
    private static double[][] gram(final double[][] rows) {
        final double[][] products = new double[rows.length][rows.length];
        for (int i = 0; i < rows.length; i++) {
            for (int j = 0; j <= i; j++) {
                products[i][j] = dot(rows[i], rows[j]);
                products[j][i] = products[i][j];
            }
        }
        return products;
    }

    private static double[][] transposed(final double[][] rows) {
        final double[][] columns = new double[rows[0].length][rows.length];
        for (int i = 0; i < rows.length; i++) {
            for (int j = 0; j < columns.length; j++) {
                columns[j][i] = rows[i][j];
            }
        }
        return columns;
    }

    // Of a symmetric matrix, eigenvalues come in descending order.
    private static double[] leadingEigenvector(final double[][] symmetric) {
        return new EigenDecomposition(new Array2DRowRealMatrix(symmetric, false)).getEigenvector(0).toArray();
    }
}
