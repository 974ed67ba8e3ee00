/**
 * The command line: parses arguments, calls the API of the rooms, prints. Holds no logic of its own, so that whatever a
 * command does can be done from Java.
 */
package dev.equipoise.bench.cli;
