"""Few-shot prompts as demonstrations: K pairs of one instruction become K conversations, each with the other pairs as examples.

Ouyang et al. 2022, arXiv:2203.02155, section 3.2 and appendix A: labelers wrote an instruction and several pairs of query and response
for it. How the pairs stood in the prompt was not published; here each is a line `Input:` and a line `Output:`.
"""

from collections.abc import Sequence

from trivium.core.types import Message


def few_shot(instruction: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[Message, ...]]:
    """One conversation for each (query, response): the instruction, the other pairs in order, the query; its response is the answer.

    >>> [user, assistant] = few_shot("Reverse it.", [("ab", "ba"), ("cd", "dc")])[1]
    >>> print(user.content)
    Reverse it.
    <BLANKLINE>
    Input: ab
    Output: ba
    <BLANKLINE>
    Input: cd
    Output:
    >>> assistant.content
    'dc'
    """
    shots = [f"Input: {query}\nOutput: {response}" for query, response in pairs]
    found: list[tuple[Message, ...]] = []
    for index, (query, response) in enumerate(pairs):
        prompt = "\n\n".join([instruction, *shots[:index], *shots[index + 1 :], f"Input: {query}\nOutput:"])
        found.append((Message("user", prompt), Message("assistant", response)))
    return found
