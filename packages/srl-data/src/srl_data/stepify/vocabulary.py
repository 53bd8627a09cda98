"""Words with which people number steps and link sentences, in a dozen or two of languages.

Patterns only; what is made of them is `heading_line`'s and `sentences`'.
"""

STEP_WORDS = (
    "steps?|schritt|[ée]tape|paso|passo|passaggio|pasul|stap|krok|шаг|крок|bước|langkah|adım|"
    "βήμα|vaihe|steg|trin|lépés|שלב|צעד|(?:ال)?خطوة|مرحله|گام|चरण|कदम|ধাপ|ขั้นตอนที่|ขั้นที่|"
    "ステップ|手順|步骤|步驟|단계|stage|stufe"
)
"""Words for a step."""

PART_WORDS = (
    "parts?|case|phase|teil|fall|partie|cas|parte|caso|часть|случай|część|przypadek|część|"
    "del|deel|geval|durum|kısım|phần|trường hợp|パート|場合|部分|情况|情況|情形|경우|부분"
)
"""Words for a part, which may hold steps or stand within one."""

CHINESE = "一二三四五六七八九十"
ROMAN = [
    "i",
    "ii",
    "iii",
    "iv",
    "v",
    "vi",
    "vii",
    "viii",
    "ix",
    "x",
    "xi",
    "xii",
    "xiii",
    "xiv",
    "xv",
    "xvi",
    "xvii",
    "xviii",
    "xix",
    "xx",
]
CARDINALS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "final",
    "last",
]
OTHER_ORDINALS = {
    "erster": 1, "erste": 1, "zweiter": 2, "zweite": 2, "dritter": 3, "dritte": 3, "vierter": 4,
    "première": 1, "premier": 1, "deuxième": 2, "troisième": 3, "quatrième": 4,
    "primer": 1, "segundo": 2, "tercer": 3, "cuarto": 4, "primeiro": 1, "terceiro": 3,
    "primo": 1, "secondo": 2, "terzo": 3, "quarto": 4,
    "первый": 1, "второй": 2, "третий": 3, "четвертый": 4, "четвёртый": 4,
}  # fmt: skip
LETTERS = "abcdefghijkl"

FIRST = (
    r"first(?:ly)?|first of all|to begin(?: with)?|to start(?: with)?|"
    r"we (?:first|begin|start)|"
    r"start(?:ing)? (?:by|with)|begin by|initially|"
    r"zuerst|zunächst|erstens|als [Ee]rstes|"
    r"(?:tout )?d'abord|tout d’abord|d’abord|premièrement|"
    r"primero|en primer lugar|primeiro|em primeiro lugar|primeiramente|prima(?: di tutto)?|"
    r"innanzitutto|in primo luogo|per prima cosa|anzitutto|ten eerste|eerst|allereerst|"
    r"сначала|во-первых|прежде всего|спочатку|po pierwsze|najpierw|nejprve|først|först|"
    r"ilk olarak|öncelikle|önce|pertama|đầu tiên|trước hết|trước tiên|πρώτα|αρχικά|"
    r"首先|第一|まず|最初に|はじめに|먼저|우선|첫째|"
    r"첫 번째로|أولا|أولاً|اولا|सबसे पहले|पहले|ก่อนอื่น|ขั้นแรก|ראשית"
)
"""How the first of several sentences begins."""

NEXT = (
    r"second(?:ly)?|third(?:ly)?|fourth(?:ly)?|fifth(?:ly)?|next|then|after (?:that|this)|"
    r"afterwards?|following (?:this|that)|subsequently|now|"
    r"danach|dann|anschließend|als [Nn]ächstes|nun|zweitens|drittens|viertens|ensuite|puis|"
    r"après cela|deuxièmement|troisièmement|luego|después|"
    r"a continuación|entonces|segundo|tercero|"
    r"en segundo lugar|en tercer lugar|em seguida|depois|então|em segundo lugar|poi|quindi|"
    r"successivamente|dopodiché|in secondo luogo|in terzo luogo|"
    r"vervolgens|daarna|dan|ten tweede|"
    r"ten derde|затем|потом|далее|после этого|во-вторых|в-третьих|потім|далі|po drugie|"
    r"po trzecie|następnie|potem|poté|pak|derefter|"
    r"deretter|sedan|därefter|daha sonra|sonra|"
    r"ardından|ikinci olarak|kemudian|selanjutnya|lalu|"
    r"kedua|tiếp theo|sau đó|στη συνέχεια|έπειτα|"
    r"然后|然後|接着|接著|其次|再次|接下来|接下來|第二|第三|"
    r"第四|次に|つぎに|それから|続いて|その後|다음으로|그다음|그 다음|둘째|"
    r"셋째|이어서|그런 다음|ثم|بعد ذلك|ثانيا|ثانياً|ثالثا|"
    r"ثالثاً|फिर|इसके बाद|उसके बाद|จากนั้น|ต่อไป|לאחר מכן|שנית|אחר כך"
)
"""How a later one begins."""

WEAK = "then|now|dann|nun|dan|nu|entonces|então|pak"
"""Those of them that any sentence may begin with."""

LAST = (
    r"finally|lastly|last|at last|in the end|"
    r"to finish|schließlich|abschließend|zum [Ss]chluss|"
    r"zuletzt|enfin|finalement|finalmente|por último|"
    r"por fim|al final|infine|tenslotte|ten slotte|"
    r"tot slot|наконец|в конце|в итоге|нарешті|"
    r"na koniec|wreszcie|nakonec|til sidst|til slutt|"
    r"till sist|slutligen|son olarak|sonunda|akhirnya|terakhir|cuối cùng|τέλος|"
    r"最后|最後|最终|最終|最後に|最終的に|마지막으로|"
    r"끝으로|أخيرا|أخيراً|وأخيرا|अंत में|अन्त में|สุดท้าย|לבסוף"
)
"""How the last one begins."""

CORRECTIONS = (
    r"wait|hold on|hmm+|hm|but wait|"
    r"no,? wait|oh,? wait|alternatively|actually|but actually|"
    r"on second thought|let me (?:re-?check|double[- ]check|check|"
    r"verify|re-?think|reconsider|"
    r"try (?:again|another)|start over)|let's (?:re-?check|"
    r"double[- ]check|verify|reconsider|"
    r"try another)|i made a mistake|that's (?:not right|wrong)|"
    r"another (?:approach|way|method)|"
    r"moment mal|warte|attends|espera|un momento|aspetta|погоди|подождите|стоп|"
    r"等等|等一下|不对|不對|或者|待って|いや|잠깐|아니"
)
"""How a thought that corrects itself, or takes another way, begins."""

ABBREVIATIONS = frozenset(
    [
        "e.g",
        "i.e",
        "eg",
        "ie",
        "cf",
        "vs",
        "viz",
        "resp",
        "approx",
        "ca",
        "etc",
        "al",
        "fig",
        "figs",
        "eq",
        "eqs",
        "eqn",
        "eqns",
        "no",
        "nos",
        "thm",
        "lem",
        "prop",
        "cor",
        "def",
        "sec",
        "ch",
        "p",
        "pp",
        "vol",
        "ed",
        "eds",
        "dr",
        "mr",
        "mrs",
        "ms",
        "prof",
        "st",
        "jr",
        "sr",
        "inc",
        "ltd",
        "co",
        "dept",
        "est",
        "max",
        "min",
        "const",
        "z.b",
        "d.h",
        "u.a",
        "bzw",
        "usw",
        "ggf",
        "vgl",
        "abb",
        "gl",
        "nr",
        "s",
        "bspw",
        "evtl",
        "max.",
        "p.ex",
        "c.-à-d",
        "c-à-d",
        "p.ej",
        "pág",
        "ej",
        "núm",
        "fig",
        "т.е",
        "т.к",
        "т.д",
        "т.п",
        "т.н",
        "рис",
        "см",
        "стр",
        "ур",
        "напр",
        "др",
        "bijv",
        "d.w.z",
        "resp",
        "nl",
        "tj",
        "np",
        "por",
        "ex",
        "sig",
        "cap",
        "art",
    ]
)
"""Words whose full stop ends no sentence, in lower case."""
