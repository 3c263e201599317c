"""A text as its sentences, so that a clinician can mark one of them. The numbering is part of a judgement's record."""

import sentencex


def sentences(text: str) -> list[str]:
    """The sentences and list lines of ``text`` in order, without surrounding white space; empty for an empty text.

    The same text always gives the same list: a mark keeps the number of its sentence (from 0) and the sentence itself.

    >>> sentences("Seen by Dr. Ode.  No fever.\\n\\n- 3.5 mg b.i.d.")
    ['Seen by Dr. Ode.', 'No fever.', '- 3.5 mg b.i.d.']
    """
    return [part.strip() for part in sentencex.segment("en", text) if part.strip()]
