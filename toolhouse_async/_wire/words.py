"""What counts as a worker's words: its text, and never its thoughts."""

from __future__ import annotations

from typing import Any, Final

TEXT_BLOCKS: Final = frozenset({"text", "output_text", "input_text", "text_delta", "output_text_delta"})
"""Types of content blocks that hold text; a block of no type does too."""

_THOUGHTS: Final = ("thinking", "reasoning", "thought", "summary")


def normal(type_name: str) -> str:
    """A type's name as it is compared: in lower case, ``-`` and ``.`` as ``_``."""
    return type_name.lower().replace("-", "_").replace(".", "_")


def is_thought(obj: dict[str, Any]) -> bool:
    """Whether an object says by its type, or by ``thought: true``, that its text is a thought."""
    if obj.get("thought") is True:
        return True
    kind = obj.get("type")
    return type(kind) is str and any(word in normal(kind) for word in _THOUGHTS)


def block_text(block: Any) -> str | None:
    """The text of a content block: a string, or an object of a text's type or of none; ``None`` for any other."""
    if isinstance(block, str):
        return block
    if not isinstance(block, dict) or block.get("thought") is True:
        return None
    kind, text = block.get("type"), block.get("text")
    if kind == "refusal":
        text, kind = block.get("refusal"), None
    if not isinstance(text, str) or (kind is not None and not (isinstance(kind, str) and normal(kind) in TEXT_BLOCKS)):
        return None
    return text


def entry_text(content: Any, entry: Any) -> str:
    """The plain text of a history's entry: its content's, else that of its ``parts``, else its refusal."""
    if isinstance(content, str) and content:
        return content
    if not content and isinstance(entry, dict):
        content = entry.get("parts") or entry.get("refusal")
    blocks = content if isinstance(content, list) else [content]
    return "".join(block_text(block) or "" for block in blocks)
