"""Names that TeX and people give to functions, letters, accents and environments."""

_FUNCTIONS = """
sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth ln log exp arcsinh arccosh
arctanh gcd lcm max min sgn
"""
_LETTERS = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi
chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar aleph nabla mho AA
angle triangle
"""
_ACCENTS = "hat widehat bar overline tilde widetilde vec overrightarrow dot ddot"
_NO_FACTORS = """
approx times cdot pm mp cup cap setminus in notin le ge ne end rfloor rceil ldots circ prime mid to
rightarrow Rightarrow implies mathbb equiv pmod bmod mod quad
"""
_MATRICES = "pmatrix bmatrix matrix smallmatrix array Bmatrix"
FUNCTIONS = frozenset(_FUNCTIONS.split())
LETTERS = frozenset(_LETTERS.split())
"""Commands that are a letter, or stand before one as `\\angle` does."""
ACCENTS = frozenset(_ACCENTS.split())
ALPHABETS = frozenset(("mathbb", "mathcal", "mathscr", "mathfrak", "mathrm"))
NO_FACTORS = frozenset(_NO_FACTORS.split())
"""Commands at which a product ends."""
MATRICES = frozenset(_MATRICES.split())
