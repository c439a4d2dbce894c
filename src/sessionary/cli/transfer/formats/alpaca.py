"""Training data of one question and one answer (Alpaca and similar), and preference pairs."""

from typing import Any, Final

from sessionary.cli.transfer.conversation import Conversation
from sessionary.cli.transfer.formats.turns import add_turns

_PAIRS: Final = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("query", "response"),
)
_PREFERRED: Final = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))


def is_alpaca(value: Any) -> bool:
    """Return whether a record is a question and an answer."""
    return isinstance(value, dict) and any(question in value and answer in value for question, answer in _PAIRS)


def read_alpaca(value: Any, conversation: Conversation) -> None:
    """Read the history, the question with its input, and the answer."""
    question_name, answer_name = next((names for names in _PAIRS if names[0] in value and names[1] in value), _PAIRS[0])
    known = {question_name, answer_name, "input", "history", "system", "user_id", "model", "title"}
    conversation.fields.update({name: value.get(name) for name in ("user_id", "model", "title")})
    if isinstance(value.get("system"), str) and value["system"]:
        conversation.add_message({"role": "system", "content": value["system"]})
    elif value.get("system"):
        conversation.imported["system"] = value["system"]
    _add_history(value.get("history"), conversation)
    question, extra = value.get(question_name), value.get("input")
    if isinstance(question, str) and isinstance(extra, str) and extra:
        question = f"{question}\n\n{extra}" if question else extra
        known.discard("input")
    elif extra not in (None, ""):
        conversation.imported["input"] = extra
    add_turns(
        conversation, [{"role": "user", "content": question}, {"role": "assistant", "content": value.get(answer_name)}]
    )
    conversation.add_other_fields(value, frozenset(known))


def _add_history(history: Any, conversation: Conversation) -> None:
    if history in (None, []):
        return
    if not isinstance(history, list):
        conversation.imported["history"] = history
        conversation.record_change("history that is not a list, kept as metadata.imported.history")
        return
    for exchange in history:
        if isinstance(exchange, list):
            roles = ("user", "assistant") * len(exchange)
            add_turns(
                conversation, [{"role": role, "content": text} for role, text in zip(roles, exchange, strict=False)]
            )
        else:
            add_turns(conversation, [exchange])


def is_preference(value: Any) -> bool:
    """Return whether a record has a preferred and a rejected answer."""
    return isinstance(value, dict) and any(chosen in value and rejected in value for chosen, rejected in _PREFERRED)


def read_preference(value: Any, conversation: Conversation) -> None:
    """Read the prompt and the preferred answer; the rejected answer becomes metadata."""
    chosen, rejected = next((names for names in _PREFERRED if names[0] in value), _PREFERRED[0])
    source = value.get("input") if isinstance(value.get("input"), dict) else value
    prompt = next(
        (source[name] for name in ("messages", "prompt", "question", "instruction") if source.get(name)), None
    )
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if prompt is not None and not isinstance(prompt, list):
        conversation.imported["prompt"] = prompt
    turns = prompt if isinstance(prompt, list) else []
    if isinstance(value.get("system"), str) and value["system"]:
        turns = [{"role": "system", "content": value["system"]}, *turns]
    answer = value.get(chosen)
    answers = answer if isinstance(answer, list) else [{"role": "assistant", "content": answer}]
    # Some data sets repeat the question at the start of both answers.
    turns = answers if turns and answers[: len(turns)] == turns else [*turns, *answers]
    add_turns(conversation, turns)
    conversation.fields.update({name: value.get(name) for name in ("user_id", "model", "title")})
    known = {chosen, rejected, "user_id", "model", "title", *(name for name in ("prompt", "question") if name in value)}
    known |= {"system"} if isinstance(value.get("system"), str) else set()
    known |= {"input"} if isinstance(value.get("input"), dict) else set()
    conversation.imported[rejected] = value.get(rejected)
    conversation.add_other_fields(value, frozenset(known))
    if source is not value:
        conversation.add_other_fields(source, frozenset({"messages"}))
