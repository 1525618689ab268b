"""English word forms by rule: from a form to the lemmas it may belong to, and from a lemma back to that form.

    "stories" ──lemmas──► ("n", "story", "s"), ("v", "story", "s")
    inflect("tale", "n", "s") ──► "tales"

The rules are those of any grammar; verbs, nouns and adjectives that break them are listed below, and WordNet's own
exception lists, where there are any, are asked first (see _wordnet.py). Forms: "" as it is; nouns "s"; verbs "s",
"ing", "past", "part" (past participle); adjectives and adverbs "er", "est".
"""

from collections import defaultdict
from collections.abc import Mapping

__all__ = ["IRREGULAR", "guesses", "inflect"]

Form = tuple[str, str, str]  # part of speech (n, v, a, r), lemma, form

# lemma past participle; one word after the lemma where both are the same.
_VERBS = """arise arose arisen|awake awoke awoken|be was been|bear bore borne|beat beat beaten|become became become|
begin began begun|bend bent|bet bet|bind bound|bite bit bitten|bleed bled|blow blew blown|break broke broken|breed bred|
bring brought|build built|burst burst|buy bought|cast cast|catch caught|choose chose chosen|cling clung|come came come|
cost cost|creep crept|cut cut|deal dealt|dig dug|do did done|draw drew drawn|drink drank drunk|drive drove driven|
eat ate eaten|fall fell fallen|feed fed|feel felt|fight fought|find found|flee fled|fling flung|fly flew flown|
forbid forbade forbidden|forecast forecast|forget forgot forgotten|forgive forgave forgiven|freeze froze frozen|
get got got|give gave given|go went gone|grind ground|grow grew grown|hang hung|have had|hear heard|hide hid hidden|
hit hit|hold held|hurt hurt|keep kept|kneel knelt|know knew known|lay laid|lead led|leave left|lend lent|let let|
lie lay lain|light lit|lose lost|make made|mean meant|meet met|mislead misled|mistake mistook mistaken|overcome overcame
overcome|oversee oversaw overseen|overtake overtook overtaken|pay paid|put put|quit quit|read read|rebuild rebuilt|
ride rode ridden|ring rang rung|rise rose risen|run ran run|say said|see saw seen|seek sought|sell sold|send sent|
set set|sew sewed sewn|shake shook shaken|shed shed|shine shone|shoot shot|show showed shown|shrink shrank shrunk|
shut shut|sing sang sung|sink sank sunk|sit sat|sleep slept|slide slid|sow sowed sown|speak spoke spoken|spend spent|
spin spun|spit spat|split split|spread spread|spring sprang sprung|stand stood|steal stole stolen|stick stuck|
sting stung|stink stank stunk|strike struck|string strung|strive strove striven|swear swore sworn|sweep swept|
swell swelled swollen|swim swam swum|swing swung|take took taken|teach taught|tear tore torn|tell told|think thought|
throw threw thrown|thrust thrust|tread trod trodden|undergo underwent undergone|understand understood|
undertake undertook undertaken|undo undid undone|uphold upheld|upset upset|wake woke woken|wear wore worn|
weave wove woven|weep wept|win won|wind wound|withdraw withdrew withdrawn|withhold withheld|withstand withstood|
wring wrung|write wrote written"""
_NOUNS = """man men|woman women|child children|person people|foot feet|tooth teeth|goose geese|mouse mice|louse lice|
ox oxen|life lives|knife knives|wife wives|leaf leaves|half halves|self selves|shelf shelves|thief thieves|wolf wolves|
calf calves|loaf loaves|crisis crises|analysis analyses|basis bases|thesis theses|hypothesis hypotheses|axis axes|
phenomenon phenomena|criterion criteria|medium media|datum data|bacterium bacteria|stimulus stimuli|nucleus nuclei|
sheep sheep|series series|species species|fish fish|deer deer|aircraft aircraft|hero heroes|potato potatoes|
tomato tomatoes|echo echoes|veto vetoes"""
_DEGREES = "good better best|well better best|bad worse worst|far farther farthest|little less least"
# Verbs of several syllables that double their last letter: the stress falls on it.
_DOUBLING = frozenset(
    [
        "abet",
        "abhor",
        "acquit",
        "admit",
        "allot",
        "begin",
        "bedim",
        "beset",
        "commit",
        "compel",
        "concur",
        "confer",
        "control",
        "defer",
        "deter",
        "dispel",
        "embed",
        "emit",
        "enrol",
        "equip",
        "excel",
        "expel",
        "forget",
        "forgo",
        "impel",
        "incur",
        "infer",
        "inter",
        "occur",
        "omit",
        "outfit",
        "patrol",
        "permit",
        "prefer",
        "propel",
        "rebel",
        "rebut",
        "recur",
        "refer",
        "regret",
        "remit",
        "repel",
        "submit",
        "transfer",
        "transmit",
        "uncap",
        "unplug",
        "unwrap",
        "upset",
    ]
)
_VOWELS = "aeiou"


def _irregular() -> dict[tuple[str, str, str], str]:
    """(part of speech, lemma, form) to what it looks like."""
    forms: dict[tuple[str, str, str], str] = {}
    for verb in _VERBS.split("|"):
        lemma, past, *part = verb.split()
        forms |= {("v", lemma, "past"): past, ("v", lemma, "part"): (part or [past])[0]}
    for noun in _NOUNS.split("|"):
        one, many = noun.split()
        forms["n", one, "s"] = many
    for degree in _DEGREES.split("|"):
        lemma, more, most = degree.split()
        for pos in "ar":
            forms |= {(pos, lemma, "er"): more, (pos, lemma, "est"): most}
    return forms | {
        ("v", "be", "s"): "is",
        ("v", "have", "s"): "has",
        ("v", "do", "s"): "does",
        ("v", "go", "s"): "goes",
    }


IRREGULAR: Mapping[tuple[str, str, str], str] = _irregular()
_FROM: defaultdict[str, list[Form]] = defaultdict(list)
for _key, _form in IRREGULAR.items():
    _FROM[_form].append((_key[0], _key[1], _key[2]))

# Ending of a form, what stands for it in the lemma, and the form: WordNet's detachment rules and their kin.
_RULES: tuple[tuple[str, str, str, str], ...] = (
    ("n", "ies", "y", "s"), ("n", "es", "", "s"), ("n", "s", "", "s"), ("n", "men", "man", "s"), ("n", "ves", "f", "s"),
    ("v", "ies", "y", "s"), ("v", "es", "", "s"), ("v", "s", "", "s"),
    ("v", "ied", "y", "past"), ("v", "ed", "e", "past"), ("v", "ed", "", "past"),
    ("v", "ying", "ie", "ing"), ("v", "ing", "e", "ing"), ("v", "ing", "", "ing"),
    ("a", "ier", "y", "er"), ("a", "er", "", "er"), ("a", "er", "e", "er"),
    ("a", "iest", "y", "est"), ("a", "est", "", "est"), ("a", "est", "e", "est"),
)  # fmt: skip


def guesses(form: str) -> list[Form]:
    """Every lemma that `form`, in lower case, may belong to by these rules; a dictionary must say which exist.

    The past tense and the participle look alike as a rule: such a form is given as "past".
    """
    found: list[Form] = [(pos, form, "") for pos in "nvar"]
    found += _FROM.get(form, ())
    for pos, ending, instead, name in _RULES:
        stem = form[: -len(ending)]
        if not form.endswith(ending) or len(stem + instead) < 2:
            continue
        found.append((pos, stem + instead, name))
        if not instead and pos != "n" and name != "s" and (_doubled(stem) or stem.endswith("ick")):
            found.append((pos, stem[:-1], name))
    # Only what leads back to this very form: "caring" is no form of "car", nor "planed" of "plan".
    kept = (
        f for f in dict.fromkeys(found) if not f[2] or form in (inflect(f[1], f[0], f[2]), inflect(f[1], f[0], "part"))
    )
    return list(kept)


def _doubled(stem: str) -> bool:
    return len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in _VOWELS


def inflect(lemma: str, pos: str, form: str) -> str:
    """The form of a lemma: ("tale", "n", "s") gives "tales"; "more ..." for adjectives too long for an ending."""
    known = IRREGULAR.get((pos, lemma, form))
    if known is not None:
        return known
    if not form:
        return lemma
    if form == "s":
        return _with_s(lemma)
    if form == "ing":
        return _with_ing(lemma)
    if form in ("past", "part"):
        return _with(lemma, "ed")
    if _syllables(lemma) > 2 or (_syllables(lemma) == 2 and not lemma.endswith(("y", "le", "ow"))) or pos == "r":
        return ("more " if form == "er" else "most ") + lemma
    return _with(lemma, form)


def _with_s(lemma: str) -> str:
    if lemma.endswith(("s", "x", "z", "ch", "sh")):
        return lemma + "es"
    if lemma.endswith("y") and lemma[-2:-1] not in _VOWELS:
        return lemma[:-1] + "ies"
    return lemma + "s"


def _with_ing(lemma: str) -> str:
    if lemma.endswith("ie"):
        return lemma[:-2] + "ying"
    if lemma.endswith("e") and not lemma.endswith(("ee", "oe", "ye")) and len(lemma) > 2:
        return lemma[:-1] + "ing"
    return _doubling(lemma) + "ing"


def _with(lemma: str, ending: str) -> str:
    """With an ending that begins with e."""
    if lemma.endswith("e"):
        return lemma + ending[1:]
    if lemma.endswith("y") and lemma[-2:-1] not in _VOWELS:
        return lemma[:-1] + "i" + ending
    return _doubling(lemma) + ending


def _doubling(lemma: str) -> str:
    """With its last letter twice where one vowel and one consonant end a stressed syllable: stop, admit; not visit."""
    if lemma.endswith("ic"):
        return lemma + "k"
    if len(lemma) < 3 or lemma[-1] in "aeiouwxy" or lemma[-2] not in _VOWELS:
        return lemma
    if lemma[-3] in _VOWELS and lemma[-3:-1] != "ui":
        return lemma
    return lemma + lemma[-1] if _syllables(lemma) == 1 or lemma in _DOUBLING else lemma


def _syllables(word: str) -> int:
    """Runs of vowels, a silent e at the end not counted."""
    body = word[:-1] if word.endswith("e") and not word.endswith("le") else word
    runs = sum(1 for i, c in enumerate(body) if c in "aeiouy" and (i == 0 or body[i - 1] not in "aeiouy"))
    return max(runs, 1)
