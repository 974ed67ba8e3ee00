package dev.equipoise.bench.cli;

import dev.equipoise.bench.cli.TestbedEvalCommand.Arm;
import dev.equipoise.bench.testbed.Proportion;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.UnavailableException;
import java.awt.Color;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Function;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.style.Styler;

/** The two sides of a strategy as bars: conflicts in which the model looks, and consistent items that stay right. */
final class EffectChart {
    private static final int WIDTH_OF_ONE = 90;
    private static final int MARGIN = 90;
    private static final int HEIGHT = 380;
    private static final int LABEL_ANGLE = 25;
    private static final int DPI = 144;
    // Blue and orange, which are told apart by those who see few colours.
    private static final Color LOOKS = new Color(0x1f77b4);
    private static final Color STAYS_RIGHT = new Color(0xffb55a);

    private EffectChart() {
    }

    /**
     * Writes a PNG file.
     *
     * @throws BadInputException if it cannot be written
     * @throws UnavailableException on a machine without fonts
     */
    static void write(final Path file, final List<Arm> arms) {
        try {
            final CategoryChart chart = new CategoryChartBuilder()
                    .width(MARGIN + WIDTH_OF_ONE * arms.size())
                    .height(HEIGHT)
                    .yAxisTitle("per cent of the items")
                    .build();
            chart.getStyler().setLegendPosition(Styler.LegendPosition.OutsideS)
                    .setLegendLayout(Styler.LegendLayout.Horizontal)
                    .setLegendBorderColor(Color.WHITE).setChartBackgroundColor(Color.WHITE)
                    .setSeriesColors(new Color[] {LOOKS, STAYS_RIGHT});
            chart.getStyler().setYAxisMin(0.0).setYAxisMax(100.0).setXAxisLabelRotation(LABEL_ANGLE)
                    .setPlotBorderVisible(false);
            add(chart, "conflicts: follows the picture", arms, EffectTable::followsPicture);
            add(chart, "consistent items: right", arms, EffectTable::consistent);
            BitmapEncoder.saveBitmapWithDPI(chart, file.toString(), BitmapFormat.PNG, DPI);
        } catch (final IOException e) {
            throw new BadInputException(
                    "chart cannot be written (" + e.getMessage() + ")", file.toString(), "choose another file", e);
        } catch (final InternalError | NoClassDefFoundError | UnsatisfiedLinkError e) {
            // What AWT throws when it finds no font.
            throw new UnavailableException(
                    "no chart: " + e.getMessage(), file.toString(), "install a font, such as DejaVu");
        }
    }

    private static void add(
            final CategoryChart chart, final String name, final List<Arm> arms, final Function<Arm, Proportion> share) {
        chart.addSeries(
                name,
                // A control is called by its kind: its whole name does not fit below a bar.
                arms.stream().map(arm -> arm.strategy().name().replaceFirst(":.*", "")).toList(),
                arms.stream().map(arm -> percent(share.apply(arm))).toList());
    }

    private static Double percent(final Proportion share) {
        if (share.n() == 0) {
            throw new BadInputException(
                    "nothing to draw", "no conflict without an instruction, or no consistent item", "give --data both");
        }
        return 100 * share.value();
    }
}
