package dev.equipoise.runtime.gguf;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/** A metadata value: one number, truth value or string, or an array of them. Immutable. */
public sealed interface GgufValue {
    /** The type of the value, or of an array's elements, in the file format. */
    Type type();

    /** The value as JSON knows it: Long (BigInteger above 2^63), Double, Boolean, String, or a List of them. */
    Object plain();

    /** The value types of the file format, in the order of their numbers there. */
    enum Type {
        U8(1), I8(1), U16(2), I16(2), U32(4), I32(4), F32(4), BOOL(1), STRING(8), ARRAY(12), U64(8), I64(8), F64(8);

        private final int bytes;

        Type(final int bytes) {
            this.bytes = bytes;
        }

        /** Bytes of one value; the smallest possible for strings and arrays. */
        int bytes() {
            return bytes;
        }

        boolean real() {
            return this == F32 || this == F64;
        }

        boolean whole() {
            return !real() && this != STRING && this != ARRAY && this != BOOL;
        }
    }

    /** An integer; {@code U64} values above 2^63 hold their bit pattern. */
    record Whole(Type type, long value) implements GgufValue {
        @Override
        public Object plain() {
            return integer(type, value);
        }
    }

    /** A floating-point number. */
    record Real(Type type, double value) implements GgufValue {
        @Override
        public Object plain() {
            return value;
        }
    }

    /** A truth value. */
    record Flag(boolean value) implements GgufValue {
        @Override
        public Type type() {
            return Type.BOOL;
        }

        @Override
        public Object plain() {
            return value;
        }
    }

    /** A string. */
    record Text(String value) implements GgufValue {
        /** Refuses null. */
        public Text {
            Objects.requireNonNull(value);
        }

        @Override
        public Type type() {
            return Type.STRING;
        }

        @Override
        public Object plain() {
            return value;
        }
    }

    /** An array; {@code ARRAY} itself is never the element type. */
    sealed interface Array extends GgufValue {
        /** Number of elements. */
        int size();
    }

    /** An array of integers or truth values (0 and 1). */
    final class Wholes implements Array {
        private final Type type;
        private final long[] values;

        Wholes(final Type type, final long[] values) {
            this.type = type;
            this.values = values;
        }

        @Override
        public Type type() {
            return type;
        }

        @Override
        public int size() {
            return values.length;
        }

        /** Element {@code i}. */
        public long get(final int i) {
            return values[i];
        }

        /** A copy of the elements. */
        public long[] toArray() {
            return values.clone();
        }

        @Override
        public Object plain() {
            final List<Object> list = new ArrayList<>(values.length);
            for (final long value : values) {
                list.add(type == Type.BOOL ? (Object) (value != 0) : integer(type, value));
            }
            return list;
        }

        @Override
        public boolean equals(final Object other) {
            return other instanceof Wholes that && type == that.type && Arrays.equals(values, that.values);
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(values);
        }

        @Override
        public String toString() {
            return type + Arrays.toString(values);
        }
    }

    /** An array of floating-point numbers. */
    final class Reals implements Array {
        private final Type type;
        private final double[] values;

        Reals(final Type type, final double[] values) {
            this.type = type;
            this.values = values;
        }

        @Override
        public Type type() {
            return type;
        }

        @Override
        public int size() {
            return values.length;
        }

        /** Element {@code i}. */
        public double get(final int i) {
            return values[i];
        }

        /** A copy of the elements. */
        public double[] toArray() {
            return values.clone();
        }

        @Override
        public Object plain() {
            return Arrays.stream(values).boxed().toList();
        }

        @Override
        public boolean equals(final Object other) {
            return other instanceof Reals that && type == that.type && Arrays.equals(values, that.values);
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(values);
        }

        @Override
        public String toString() {
            return type + Arrays.toString(values);
        }
    }

    /** An array of strings. */
    record Texts(List<String> values) implements Array {
        /** Copies the list. */
        public Texts {
            values = List.copyOf(values);
        }

        @Override
        public Type type() {
            return Type.STRING;
        }

        @Override
        public int size() {
            return values.size();
        }

        @Override
        public Object plain() {
            return values;
        }
    }

    /** An unsigned 32-bit integer, 0 to 2^32 - 1. */
    static GgufValue u32(final long value) {
        if (value < 0 || value > 0xFFFFFFFFL) {
            throw new IllegalArgumentException("not an unsigned 32-bit number: " + value);
        }
        return new Whole(Type.U32, value);
    }

    /** A signed 32-bit integer. */
    static GgufValue i32(final int value) {
        return new Whole(Type.I32, value);
    }

    /** A 64-bit unsigned integer given by its bits. */
    static GgufValue u64(final long value) {
        return new Whole(Type.U64, value);
    }

    /** A 32-bit float. */
    static GgufValue f32(final float value) {
        return new Real(Type.F32, value);
    }

    /** A truth value. */
    static GgufValue bool(final boolean value) {
        return new Flag(value);
    }

    /** A string. */
    static GgufValue text(final String value) {
        return new Text(value);
    }

    /** An array of strings. */
    static GgufValue texts(final List<String> values) {
        return new Texts(values);
    }

    /** An array of signed 32-bit integers. */
    static GgufValue i32s(final int... values) {
        return new Wholes(Type.I32, Arrays.stream(values).asLongStream().toArray());
    }

    /** An array of 32-bit floats. */
    static GgufValue f32s(final float... values) {
        final double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        return new Reals(Type.F32, wide);
    }

    private static Object integer(final Type type, final long value) {
        return type == Type.U64 && value < 0 ? (Object) new BigInteger(Long.toUnsignedString(value)) : (Object) value;
    }
}
