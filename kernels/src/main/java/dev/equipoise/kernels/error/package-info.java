/** The typed errors of every room: what, where, remedy. Lives in kernels because every arrow ends here. */
package dev.equipoise.kernels.error;
