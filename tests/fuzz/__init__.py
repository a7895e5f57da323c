"""Fuzzing: harnesses that need no fuzzer, a driver that does, and a corpus."""
