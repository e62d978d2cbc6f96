"""The long soak: a real agent, kept under fire for minutes, and the judgement of what came of every byte."""
