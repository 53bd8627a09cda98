r"""What decorates an answer and changes no value: sizes, styles, spacing, dollars, end marks.

`\left(`, `\bigl(`, `\displaystyle`, `\boldsymbol{x}`, `\underline{x}`, `\hspace{1cm}`, `\quad`,
`~`, `$x$`, `\(x\)`, `**x**`, a sentence's stop, `\\` at the end, the mark of a turn's end.
"""

import re

_NUMBER = r"[-+]?[\d.,/\s]*\d[\d.,/\s]*"
_TURN_END = re.compile(r"\s*(?:<\|[a-z_]+\|>|</s>|<eos>|<end_of_turn>)\s*$")
_BOLD = re.compile(r"^\*\*(.+?)\*\*$", re.DOTALL)
_SIZE = re.compile(r"\\(?:left|right|middle|(?:[bB]igg?[lrm]?))(?![a-zA-Z])\s*(?:\.(?!\d))?")
_STYLE = re.compile(
    r"\\(?:display|text|script|scriptscript)style(?![a-zA-Z])"
    r"|\\(?:no)?limits(?![a-zA-Z])|\\(?:bf|it|sf|tt)(?![a-zA-Z])"
)
_ROMAN = re.compile(r"\\rm(?![a-zA-Z])\s*(?=\{)")
_SWITCH = re.compile(r"\\rm(?![a-zA-Z])\s*([a-zA-Z]+)?")
_SPACE = re.compile(
    r"\\(?:hspace|hskip|mspace|vspace|phantom|hphantom)\*?\s*(?:\{[^{}]*\}|[-\d])"
    r"|\\(?:q?quad|enspace|enskip|thinspace|medspace|thickspace|hfill|nobreakspace)(?![a-zA-Z])"
    r"|(?<!\\)\\[,;: ]|~"
)
_NO_SPACE = re.compile(r"(?<!\\)\\(?:!|negthinspace(?![a-zA-Z]))")
_WORDS = re.compile(
    r"\\(?:textbf|textit|textrm|textsf|texttt|textnormal|textup|textsc|emph|mbox|hbox|text)"
    r"(?![a-zA-Z])\s*"
)
_FACE = re.compile(
    r"\\(?:boldsymbol|mathbf|bm|bold|pmb|mathit|mathsf|mathtt|mathnormal|underline|ensuremath"
    r"|boxed|fbox|mathstrut)(?![a-zA-Z])\s*"
)
_COLOUR = re.compile(r"\\(?:textcolor|color|colorbox)\s*\{[^{}]*\}")
_NUMBER_IN_TEXT = re.compile(rf"\\(?:text|mathrm)\s*\{{\s*({_NUMBER})\}}", re.ASCII)
_IN_TEXT = re.compile(r"\\text\s*\{[^{}]*\}")
_FRACTION = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_BINOMIAL = re.compile(r"\\[dt]binom(?![a-zA-Z])")
_MATHS = re.compile(r"(?<!\\)\\[()\[\]]|(?<!\\)\$")
_STOP = re.compile(r"(?:\s|\\\\|\\newline|(?<![.\\])[.,;:](?!\w))+$")
_EMPTY = re.compile(r"(?<![\^_a-zA-Z}\]])\{\s*\}|\{\s*\}(?=\s*\^)")
_ESCAPED = re.compile(r"\\\\(?=[a-zA-Z])")
"""A backslash too many, as programs write it into JSON; a matrix has row ends."""
_SYNONYM = {
    r"\leqslant": r"\le", r"\geqslant": r"\ge", r"\leq": r"\le", r"\geq": r"\ge", r"\lt": "<",
    r"\gt": ">", r"\neq": r"\ne", r"\varepsilon": r"\epsilon", r"\varphi": r"\phi",
    r"\vartheta": r"\theta", r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[",
    r"\rbrack": "]", r"\lparen": "(", r"\rparen": ")", r"\lvert": "|", r"\rvert": "|",
    r"\vert": "|", r"\degree": r"^\circ", r"\degrees": r"^\circ", r"\simeq": r"\approx",
    r"\ast": "*", r"\div": "/", r"\varnothing": r"\emptyset",
    r"\dots": r"\ldots", r"\cdots": r"\ldots", r"\dotsc": r"\ldots", r"\lor": r"\text{or}",
    r"\vee": r"\text{or}", r"\land": r"\text{and}", r"\wedge": r"\text{and}",
    r"\arcsec": r"\operatorname{arcsec}", r"\tg": r"\tan", r"\ctg": r"\cot", r"\lg": r"\log_{10}",
    r"\mathop": "", r"\nobreak": "", r"\qedhere": "", r"\par": " ",
}  # fmt: skip
_COMMAND = re.compile(r"\\[a-zA-Z]+")


def undecorated(text: str) -> str:
    """A text without decoration, blanks single, trailing marks gone."""
    text = _TURN_END.sub("", text).strip().strip("`")
    text = _BOLD.sub(r"\1", text)
    if "\\begin" not in text:
        text = _ESCAPED.sub(r"\\", text)
    for pattern, plain in _RULES:
        text = pattern.sub(plain, text)
    text = _NUMBER_IN_TEXT.sub(lambda match: f"{{{match[1].strip()}}}", text)
    text = _IN_TEXT.sub(lambda match: match[0].replace("\\%", "%"), text)
    text = _COMMAND.sub(lambda match: _synonym(match[0]), text)
    return ended(" ".join(text.split()))


def ended(text: str) -> str:
    r"""A text without a sentence's stop or a line's end behind it; `3!` keeps its mark."""
    return _STOP.sub("", text).strip()


def _synonym(command: str) -> str:
    plain = _SYNONYM.get(command)
    return command if plain is None else f"{plain} " if plain[-1:].isalpha() else plain


_RULES = (
    (_SIZE, ""),
    (_STYLE, " "),
    (_COLOUR, ""),
    (_NO_SPACE, ""),
    (_SPACE, " "),
    (_ROMAN, r"\\mathrm"),
    (_SWITCH, lambda match: f"\\mathrm{{{match[1]}}}" if match[1] else " "),
    (_WORDS, r"\\text"),
    (_FACE, ""),
    (_FRACTION, r"\\frac"),
    (_BINOMIAL, r"\\binom"),
    (_MATHS, ""),
    (_EMPTY, ""),
)
