"""What parts and contestants are called, in one place, because the bars look them up."""

from __future__ import annotations

SHORT = "training step, texts of about 25 tokens"
LONG = "training step, texts of 256 tokens"
VARIANTS = "8 variants, texts of about 25 tokens"
SCORING = "scoring candidate prompts"
PREDICTION = "prediction, row by row"
PREDICTION_32 = "prediction, 32 rows at once"

AFTER = "pegbox, slot after the text"
FIRST = "pegbox, slot first"
DEEP = "pegbox, keys and values after the text"
PROMPT_TUNING = "PEFT prompt tuning"
P_TUNING = "PEFT p-tuning"
PREFIX_TUNING = "PEFT prefix tuning"
LORA = "PEFT LoRA, r = 8"

TOGETHER = "pegbox, 8 variants in one pass"
SINGLY = "pegbox, 8 passes"

SCORE_COLD = "pegbox, candidates after the text, texts read in the same call"
SCORE_WARM = "pegbox, candidates after the text, texts read before"
SCORE_BEFORE = "pegbox, candidates before the text"
PLAIN_AFTER = "Transformers forward, candidates after the text"
PLAIN_BEFORE = "Transformers forward, candidates before the text"
PROMPTOLUTION = "promptolution as it comes (writes up to 256 tokens)"
PROMPTOLUTION_CUT = "promptolution, answers cut to 8 tokens"
DSPY = "DSPy, answers of up to 32 tokens"

WITH_VECTORS = "pegbox, 20 vectors in front"
WITHOUT_VECTORS = "pegbox, no vectors"
PLAIN_VECTORS = "Transformers forward, 20 vectors in front"
PLAIN_NOTHING = "Transformers forward, no vectors"
