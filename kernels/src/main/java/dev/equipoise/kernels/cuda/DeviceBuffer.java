package dev.equipoise.kernels.cuda;

import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.kernels.error.UnavailableException;
import jcuda.Pointer;
import jcuda.runtime.JCuda;
import jcuda.runtime.cudaMemcpyKind;

/**
 * Memory of the first CUDA device with one owner. Copies wait until they are done, and so for all launches before them.
 * One thread at a time; any thread may close.
 */
final class DeviceBuffer implements AutoCloseable {
    private final DevicePointer memory;
    private final long bytes;
    private boolean open;

    /** JCuda keeps addresses to itself and its heirs. */
    private static final class DevicePointer extends Pointer {
        long address() {
            return getNativePointer();
        }
    }

    private DeviceBuffer(final DevicePointer memory, final long bytes) {
        this.memory = memory;
        this.bytes = bytes;
        this.open = true;
    }

    /**
     * Memory of unspecified content.
     *
     * @param bytes at least 1
     * @throws UnavailableException if there is no device, or not that much memory on it
     */
    static DeviceBuffer allocate(final long bytes) {
        CudaRuntime.requireDevices();
        CudaRuntime.check(JCuda.cudaSetDevice(0), "choosing the first device");
        final DevicePointer memory = new DevicePointer();
        CudaRuntime.check(JCuda.cudaMalloc(memory, bytes), "allocating " + bytes + " bytes on the device");
        return new DeviceBuffer(memory, bytes);
    }

    /** Where it starts, for launches. */
    synchronized long address() {
        requireOpen();
        return memory.address();
    }

    /** Copies {@code count} bytes from host memory to {@code offset}. */
    synchronized void put(final long offset, final Pointer from, final long count) {
        requireWithin(offset, count);
        CudaRuntime.check(JCuda.cudaMemcpy(memory.withByteOffset(offset), from, count,
                cudaMemcpyKind.cudaMemcpyHostToDevice), "copying " + count + " bytes to the device");
    }

    /** Copies {@code count} bytes from {@code offset} to host memory. */
    synchronized void get(final long offset, final Pointer to, final long count) {
        requireWithin(offset, count);
        CudaRuntime.check(JCuda.cudaMemcpy(to, memory.withByteOffset(offset), count,
                cudaMemcpyKind.cudaMemcpyDeviceToHost), "copying " + count + " bytes from the device");
    }

    private void requireWithin(final long offset, final long count) {
        requireOpen();
        if (offset < 0 || count < 0 || offset > bytes - count) {
            throw new IndexOutOfBoundsException(count + " bytes at " + offset + " of " + bytes);
        }
    }

    private void requireOpen() {
        if (!open) {
            throw new LifetimeException("device memory used after it was closed", bytes + " bytes",
                    "close it when its last use is over");
        }
    }

    @Override
    public synchronized void close() {
        if (open) {
            open = false;
            CudaRuntime.check(JCuda.cudaFree(memory), "freeing " + bytes + " bytes on the device");
        }
    }
}
