"""Names under which people keep columns, in the order in which they are believed. Compared without case."""

from collections.abc import Sequence

__all__ = [
    "ANSWER_NAMES", "CONTEXT_NAMES", "IMPOSSIBLE_NAMES", "NEVER_TARGETS", "PAIR_NAMES", "QUESTION_NAMES",
    "SPAN_NAMES", "START_NAMES", "TARGET_NAMES", "TEXT_NAMES", "TOKEN_NAMES", "by_name",
]  # fmt: skip

TARGET_NAMES = (
    "label", "labels", "target", "class", "category", "sentiment", "polarity", "intent", "topic", "emotion",
    "gold", "gold_label", "answer_label", "y", "rating", "stars", "score", "valence", "similarity",
    "is_duplicate", "quality",
)  # fmt: skip
TEXT_NAMES = (
    "text", "sentence", "review", "content", "document", "comment", "tweet", "message", "body", "utterance",
    "question", "article", "description", "headline", "title", "input",
)  # fmt: skip
PAIR_NAMES = (
    ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"), ("question1", "question2"), ("question", "passage"), ("question", "sentence"),
    ("question", "context"), ("query", "passage"), ("query", "document"), ("text_a", "text_b"),
    ("text1", "text2"), ("text_1", "text_2"),
)  # fmt: skip
NEVER_TARGETS = (
    "id", "idx", "index", "guid", "uuid", "url", "link", "date", "time", "timestamp", "created_at",
)  # fmt: skip

# Labels on words and spans
TOKEN_NAMES = ("tokens", "words", "token", "word", "text", "sentence")
SPAN_NAMES = (
    "ner_tags", "tags", "ner", "bio_tags", "iob_tags", "spans", "entities", "ents", "labels", "label", "annotations",
    "slots", "target",
)  # fmt: skip

# Answers to questions
CONTEXT_NAMES = ("context", "passage", "paragraph", "document", "article", "text", "content", "body")
QUESTION_NAMES = ("question", "query")
ANSWER_NAMES = ("answers", "answer", "answer_text")
START_NAMES = ("answer_start", "answer_starts", "start")
IMPOSSIBLE_NAMES = ("is_impossible",)


def by_name(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The column that has the first of these names that is there."""
    lowered = {column.lower(): column for column in columns}
    return next((lowered[name] for name in names if name in lowered), None)
