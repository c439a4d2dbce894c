"""Training data of one question and one answer (Alpaca and its kin), and pairs of which one answer is preferred."""

from typing import Any, Final

from sessionary.cli.transfer.conversation import Conversation
from sessionary.cli.transfer.turns import add_turns
from sessionary.models import JsonObject

_PAIRS: Final = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("query", "response"),
)
_PREFERRED: Final = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))


def is_question(value: Any) -> bool:
    """Tell whether a record is a question and an answer."""
    return isinstance(value, dict) and any(asked in value and said in value for asked, said in _PAIRS)


def read_question(value: Any, conversation: Conversation) -> None:
    """Read what came before, the question with its input, and the answer."""
    asked, said = next((names for names in _PAIRS if names[0] in value and names[1] in value), _PAIRS[0])
    known = {asked, said, "input", "history", "system", "user_id", "model", "title"}
    conversation.members.update({name: value.get(name) for name in ("user_id", "model", "title")})
    if isinstance(value.get("system"), str) and value["system"]:
        conversation.add({"role": "system", "content": value["system"]})
    elif value.get("system"):
        conversation.imported["system"] = value["system"]
    _add_history(value.get("history"), conversation)
    question, more = value.get(asked), value.get("input")
    if isinstance(question, str) and isinstance(more, str) and more:
        question = f"{question}\n\n{more}" if question else more
        known.discard("input")
    elif more not in (None, ""):
        conversation.imported["input"] = more
    add_turns(conversation, [{"role": "user", "content": question}, {"role": "assistant", "content": value.get(said)}])
    conversation.keep_rest(value, frozenset(known))


def _add_history(history: Any, conversation: Conversation) -> None:
    if history in (None, []):
        return
    if not isinstance(history, list):
        conversation.imported["history"] = history
        conversation.mend("history that is no list, kept as metadata.imported.history")
        return
    for round_ in history:
        if isinstance(round_, list):
            words = ("user", "assistant") * len(round_)
            add_turns(
                conversation, [{"role": word, "content": said} for word, said in zip(words, round_, strict=False)]
            )
        else:
            add_turns(conversation, [round_])


def is_preference(value: Any) -> bool:
    """Tell whether a record holds an answer that is preferred to another one."""
    return isinstance(value, dict) and any(chosen in value and rejected in value for chosen, rejected in _PREFERRED)


def read_preference(value: Any, conversation: Conversation) -> None:
    """Read the prompt and the preferred answer; the other one is kept as metadata."""
    chosen, rejected = next((names for names in _PREFERRED if names[0] in value), _PREFERRED[0])
    asked = value.get("input") if isinstance(value.get("input"), dict) else value
    prompt = next((asked[name] for name in ("messages", "prompt", "question", "instruction") if asked.get(name)), None)
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if prompt is not None and not isinstance(prompt, list):
        conversation.imported["prompt"] = prompt
    turns = prompt if isinstance(prompt, list) else []
    if isinstance(value.get("system"), str) and value["system"]:
        turns = [{"role": "system", "content": value["system"]}, *turns]
    answer = value.get(chosen)
    answers = answer if isinstance(answer, list) else [{"role": "assistant", "content": answer}]
    # Some data sets repeat the question at the beginning of both answers.
    turns = answers if turns and answers[: len(turns)] == turns else [*turns, *answers]
    add_turns(conversation, turns)
    conversation.members.update({name: value.get(name) for name in ("user_id", "model", "title")})
    known = {chosen, rejected, "user_id", "model", "title", *(name for name in ("prompt", "question") if name in value)}
    known |= {"system"} if isinstance(value.get("system"), str) else set()
    conversation.imported[rejected] = value.get(rejected)
    conversation.keep_rest(value, frozenset(known | _read_of_input(value)))
    if asked is not value:
        conversation.keep_rest(asked, frozenset({"messages"}))


def _read_of_input(value: JsonObject) -> set[str]:
    return {"input"} if isinstance(value.get("input"), dict) else set()
