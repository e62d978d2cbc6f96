"""Coverage-guided fuzzing of whatever a drop folder can hold.

`targets` (what must hold of any bytes) · `seeds` (what the fuzzer begins with) · `child` (one run of libFuzzer, by
atheris) · `running` (starts it, within bounds) · `faulty` (targets with a fault each: the fuzzer must find it) ·
`regressions/TARGET/` (every input that ever broke a promise; they run everywhere, without atheris).

Longer runs: `python -m tests.fuzz TARGET --seconds 600`. What it finds goes into `regressions/TARGET/`, and is mended.
"""
