r"""Tokens read as a formula: sums, products, powers, roots, functions, letters with their indices.

Recursive descent over one line of LaTeX or plain mathematics. What is read in two ways by
different people (`a/bc`) is not read. Left out: lists, relations and words, which are `reader`'s.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from srl_reward.expression.brackets import Brackets
from srl_reward.expression.digits import mixed, negative, number
from srl_reward.expression.names import (
    ACCENTS,
    ALPHABETS,
    FUNCTIONS,
    LETTERS,
    NO_FACTORS,
)
from srl_reward.expression.tokens import Token
from srl_reward.expression.tree import (
    Bracketed,
    Constant,
    Matrix,
    Node,
    Number,
    Operation,
    Sign,
    Symbol,
    UnreadableError,
)

_DEEPEST = 60
_ROUNDING = {"lfloor": ("rfloor", "floor"), "lceil": ("rceil", "ceil")}
_APPLIED = frozenset("fghFG")
_INDEX_DRESS = re.compile(r"[\s{}\\]|\\text|\\mathrm")


class Formula(Brackets):
    """A reading of tokens, from the left; every method takes what it reads off the front."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        super().__init__(tokens)
        self._depth = 0
        self._signs = 0

    def whole(self) -> Node:
        """All tokens as one formula; UnreadableError where that cannot be."""
        node = self.sum()
        if self._place < len(self._tokens):
            raise self._stopped()
        return node

    def sum(self) -> Node:
        """Terms with plus and minus signs."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnreadableError(f"deeper than {_DEEPEST}")
        terms = [self._signed_term()]
        while self._next() in ("+", "-", "\\pm", "\\mp"):
            terms.append(self._signed_term())
        self._depth -= 1
        if len(terms) > 1 and any(isinstance(each, (Bracketed, Matrix)) for each in terms):
            raise UnreadableError("a sum with what is no number")
        return terms[0] if len(terms) == 1 else Operation("add", tuple(terms))

    def _signed_term(self) -> Node:
        mark = self._next()
        if mark not in ("+", "-", "\\pm", "\\mp"):
            return self._product()
        self._take()
        if mark in ("+", "-"):
            # `+-2` is written by people, `--2` by programs.
            inner = self._signed_term()
            return inner if mark == "+" else negative(inner)
        self._signs += 1
        return Operation("multiply", (Sign(self._signs, mark == "\\mp"), self._signed_term()))

    def _product(self) -> Node:
        factors = [self._mixed() or self._factor()]
        while True:
            mark = self._next()
            if mark in ("\\times", "\\cdot", "*"):
                self._take()
                factors.append(self._signed_factor())
            elif mark in ("/", ":"):
                self._take()
                factors = [self._divided(_product_of(factors))]
            elif self._starts_factor():
                factors.append(self._factor())
            else:
                return _product_of(factors)

    def _divided(self, node: Node) -> Node:
        bottom = self._signed_factor()
        if self._starts_factor() and not isinstance(bottom, Number):
            raise UnreadableError(f"a quotient with a product below it, before {self._next()!r}")
        return Operation("divide", (node, bottom))

    def _mixed(self) -> Node | None:
        """A mixed number, where one starts here."""
        found = mixed(self._tokens[self._place : self._place + 12])
        if found is None:
            return None
        self._place += found[1]
        return found[0]

    def _starts_factor(self) -> bool:
        token = self._peek()
        if token is None:
            return False
        if token.kind == "number":
            before = self._tokens[self._place - 1]
            return before.kind != "number" and before.text != "!"
        if token.kind in ("letter", "roman"):
            return True
        if token.kind == "command":
            return token.text not in NO_FACTORS
        return token.text in ("(", "{", "[", "\\{") or (token.text == "|" and not self._bars)

    def _signed_factor(self) -> Node:
        if self._next() in ("+", "-"):
            mark = self._take().text
            factor = self._signed_factor()
            return factor if mark == "+" else negative(factor)
        return self._factor()

    def _factor(self) -> Node:
        node = self._base()
        while True:
            mark = self._next()
            if mark == "^":
                node = self._raised(node)
            elif mark == "!":
                self._take()
                node = Operation("factorial", (node,))
            elif mark in ("%", "\\%"):
                self._take()
                node = Operation("percent", (node,))
            elif mark in ("'", "_"):
                raise self._stopped()
            else:
                return node

    def _raised(self, node: Node) -> Node:
        self._take()
        if self._is_degree():
            return Operation("degree", (node,))
        if isinstance(node, (Bracketed, Matrix)):
            raise UnreadableError("a power of what is no number")
        return Operation("power", (node, self._argument(is_exponent=True)))

    def _is_degree(self) -> bool:
        r"""`\circ`, `{\circ}`, and `{o}` after a number."""
        texts = [str(token) for token in self._tokens[self._place : self._place + 3]]
        before = self._tokens[self._place - 2]
        for signs in (["\\circ"], ["{", "\\circ", "}"]):
            if texts[: len(signs)] == signs:
                self._place += len(signs)
                return True
        for signs in (["o"], ["{", "o", "}"]):
            if texts[: len(signs)] == signs and before.kind == "number":
                self._place += len(signs)
                return True
        return False

    def _argument(self, *, is_exponent: bool = False) -> Node:
        """What a command or a power takes: a group, or one sign; of digits only a first one."""
        token = self._peek()
        if token is None:
            raise self._stopped()
        if token.text == "{":
            return self._group()
        if token.kind == "number" and not is_exponent:
            return self._digit()
        if is_exponent and token.text in ("-", "+"):
            return self._signed_factor()
        if is_exponent and token.text == "(":
            return self._group("(")
        return self._base()

    def _digit(self) -> Node:
        r"""The first digit of a number, as TeX takes it: `\frac12` is a half."""
        token = self._tokens[self._place]
        if len(token.text) > 1 and "." in token.text:
            return self._base()
        first, rest = token.text[0], token.text[1:]
        if rest:
            before, after = self._tokens[: self._place], self._tokens[self._place + 1 :]
            self._tokens = [*before, Token("number", rest), *after]
        else:
            self._place += 1
        return Number(Fraction(first))

    def _base(self) -> Node:
        token = self._peek()
        if token is None:
            raise self._stopped()
        if token.kind == "number":
            return self._number()
        if token.kind in ("letter", "roman"):
            return self._letter()
        if token.kind == "command":
            return self._command()
        if token.text == "{":
            return self._group()
        if token.text in ("(", "[", "\\{"):
            return self._brackets()
        if token.text == "|":
            return self._absolute()
        raise self._stopped()

    def _number(self) -> Node:
        text = self._take().text
        if self._next() == "_":
            return Symbol(f"{text}_{self._index()}")
        return number(text)

    def _letter(self) -> Node:
        name = self._take().text
        marks = self._marks()
        if name == "e" and not marks:
            return Constant("e")
        if name == "i" and not marks:
            return Constant("i")
        symbol = Symbol(name + marks)
        if name in _APPLIED and self._next() == "(":
            return Operation(f"apply {symbol.name}", self._applied())
        return symbol

    def _applied(self) -> tuple[Node, ...]:
        inner = self._brackets()
        return inner.members if isinstance(inner, Bracketed) else (inner,)

    def _marks(self) -> str:
        """Index and primes behind a letter."""
        index, primes = "", 0
        while True:
            if self._next() == "_" and not index:
                index = f"_{self._index()}"
            elif self._next() == "'":
                self._take()
                primes += 1
            elif self._next() == "^" and (count := self._primes_above()):
                primes += count
            else:
                return index + "'" * primes

    def _primes_above(self) -> int:
        r"""How many primes `^{\prime\prime}` or `^\prime` holds; taken off where there are some."""
        start = self._place
        self._take()
        inside = self._raw_argument()
        if inside and not inside.replace("\\prime", ""):
            return inside.count("\\prime")
        self._place = start
        return 0

    def _index(self) -> str:
        self._expect("_")
        return _INDEX_DRESS.sub("", self._raw_argument())

    def _command(self) -> Node:
        name = self._take().text
        if name in FUNCTIONS:
            return self._function(name)
        if name in LETTERS:
            return Symbol(f"\\{name}{self._marks()}")
        if name in ACCENTS or name in ALPHABETS:
            return Symbol(f"\\{name}{{{self._raw_argument()}}}{self._marks()}")
        if name in _ROUNDING:
            closing, function = _ROUNDING[name]
            node = self.sum()
            self._expect(f"\\{closing}")
            return Operation(function, (node,))
        read = self._readers().get(name)
        if read is None:
            raise UnreadableError(f"the command \\{name} is not read")
        return read()

    def _readers(self) -> dict[str, Callable[[], Node]]:
        return {
            "pi": lambda: self._constant("pi"),
            "infty": lambda: Constant("infinity"),
            "frac": self._fraction,
            "sqrt": self._root,
            "binom": lambda: Operation("binomial", (self._argument(), self._argument())),
            "begin": self._matrix,
            "abs": lambda: Operation("abs", (self._argument(is_exponent=True),)),
        }

    def _constant(self, name: str) -> Node:
        marks = self._marks()
        return Symbol(f"\\{name}{marks}") if marks else Constant(name)

    def _fraction(self) -> Node:
        start = self._place
        top, bottom = self._raw_argument_or_digit(), self._raw_argument_or_digit()
        if _is_differential(top) and _is_differential(bottom):
            return Symbol(f"d{{{top}}}{{{bottom}}}")
        self._place = start
        return Operation("divide", (self._argument(), self._argument()))

    def _raw_argument_or_digit(self) -> str:
        return self._raw_argument() if self._place < len(self._tokens) else ""

    def _root(self) -> Node:
        index: Node = Number(Fraction(2))
        if self._next() == "[":
            index = self._group("[")
        if self._next() == "(":
            return Operation("root", (self._group("("), index))
        return Operation("root", (self._argument(), index))

    def _function(self, name: str) -> Node:
        power: Node | None = None
        base: Node | None = None
        while self._next() in ("^", "_"):
            if self._take().text == "^":
                power = self._argument(is_exponent=True)
            else:
                base = self._argument(is_exponent=True)
        arguments = self._function_arguments()
        if name in ("gcd", "lcm", "max", "min"):
            node = Operation(name, arguments)
        elif len(arguments) != 1:
            raise UnreadableError(f"{name} of {len(arguments)} values")
        elif base is not None:
            if name != "log":
                raise UnreadableError(f"{name} with an index")
            node = Operation("log", (*arguments, base))
        else:
            node = Operation(name, arguments)
        return self._with_power(name, node, power)

    def _with_power(self, name: str, node: Node, power: Node | None) -> Node:
        if power is None:
            return node
        if power == negative(Number(Fraction(1))):
            if not isinstance(node, Operation) or name not in ("sin", "cos", "tan", "cot", "sec"):
                raise UnreadableError(f"an inverse of {name}")
            return Operation(f"arc{name}", node.arguments)
        return Operation("power", (node, power))

    def _function_arguments(self) -> tuple[Node, ...]:
        """What stands behind a function's name: brackets, or factors up to the next function."""
        if self._next() == "(":
            inner = self._brackets()
            return inner.members if isinstance(inner, Bracketed) else (inner,)
        if self._next() == "{":
            return (self._group(),)
        node = self._signed_factor()
        is_number = isinstance(node, Number)
        while self._is_argument_going_on(is_number=is_number):
            is_division = self._next() == "/"
            if is_division:
                self._take()
            factor = self._factor()
            is_number = is_number and isinstance(factor, Number)
            node = Operation("divide" if is_division else "multiply", (node, factor))
        return (node,)

    def _is_argument_going_on(self, *, is_number: bool) -> bool:
        token = self._peek()
        if token is None:
            return False
        if token.text == "/":
            return True
        if token.kind in ("letter", "roman"):
            return True
        if token.kind == "command":
            return token.text in LETTERS or token.text in ("pi", "frac", "sqrt")
        return token.text == "(" and is_number


def _product_of(factors: Sequence[Node]) -> Node:
    if len(factors) > 1 and any(isinstance(each, (Bracketed, Matrix)) for each in factors):
        raise UnreadableError("a product with what is no number")
    return factors[0] if len(factors) == 1 else Operation("multiply", tuple(factors))


def _is_differential(text: str) -> bool:
    return text.startswith(("d", "\\partial")) and len(text) <= 12
