"""Distributions to compare with PyTorch: made of two parameters of four numbers, asked at values.

`made(torch)` gives them for either library; `record_distributions.py` records PyTorch's numbers.
"""

from typing import Any


def made(torch: Any) -> tuple[Any, Any, dict[str, tuple[Any, Any]]]:
    """Both parameters, and by name a function of them and where its density is asked for."""
    D, T = torch.distributions, torch.distributions.transforms
    t = torch.tensor
    first, second = t([0.3, 1.0, 2.5, 7.0]), t([1.5, 0.4, 3.0, 1.0])
    shares, reals = t([0.2, 0.5, 0.9, 0.01]), t([-1.0, 0.3, 2.0, 5.0])
    simplex = t([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])

    def of(base: Any, *transforms: Any) -> Any:
        return D.TransformedDistribution(base, list(transforms))

    def rows(a: Any, b: Any) -> Any:
        return D.Independent(D.Normal(torch.ones(2, 4, 3) * b[:, None], a[:, None]), 1)

    logistic = T.SigmoidTransform().inv
    cases = {
        "gamma": (D.Gamma, first),
        "chi2": (lambda a, b: D.Chi2(a * b), first),
        "beta": (D.Beta, shares),
        "student": (lambda a, b: D.StudentT(a, b, b), reals),
        "dirichlet": (lambda a, b: D.Dirichlet(torch.stack([a[:3], b[:3]])), simplex),
        "log_normal": (lambda a, b: of(D.Normal(a, b), T.ExpTransform()), first),
        "squashed": (
            lambda a, b: of(D.Normal(a, b), T.AffineTransform(0.5, 0.2), T.TanhTransform()),
            shares,
        ),
        "falling": (lambda a, b: of(D.Normal(a, b), T.AffineTransform(1.0, -b)), reals),
        "logistic": (
            lambda a, b: of(
                D.Uniform(torch.zeros(4), torch.ones(4)), logistic, T.AffineTransform(a, b)
            ),
            reals,
        ),
        "vectors": (
            lambda a, b: of(D.Independent(D.Normal(a, b), 1), T.SigmoidTransform()),
            shares,
        ),
        "power": (
            lambda a, b: of(D.Exponential(a * b), T.PowerTransform(t(2.0)), T.SoftplusTransform()),
            t([1.2, 0.8, 0.9, 3.0]),
        ),
        "stick": (lambda a, b: of(D.Normal(a[:2], b[:2]), T.StickBreakingTransform()), simplex),
        "reshaped": (
            lambda a, b: of(
                D.Normal(a, b),
                T.ReshapeTransform((4,), (2, 2)),
                T.IndependentTransform(T.ExpTransform(), 2),
            ),
            first.reshape(2, 2),
        ),
        "mixture": (lambda a, b: D.MixtureSameFamily(D.Categorical(a), D.Normal(b, a)), reals),
        "mixture_of_vectors": (
            lambda a, b: D.MixtureSameFamily(D.Categorical(torch.stack([a, b])), rows(a, b)),
            torch.ones(2, 3),
        ),
        "mixture_of_gammas": (
            lambda a, b: D.MixtureSameFamily(D.Categorical(logits=a), D.Gamma(b, a)),
            first,
        ),
        "normal": (D.Normal, reals),
    }
    return first, second, cases


def divergences(torch: Any) -> dict[str, tuple[Any, Any]]:
    """Pairs of distributions."""
    D = torch.distributions
    a, b, cases = made(torch)
    simplex = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    return {
        "gamma": (D.Gamma(a, b), D.Gamma(b, a)),
        "beta": (D.Beta(a, b), D.Beta(b, a)),
        "dirichlet": (D.Dirichlet(simplex * 3), D.Dirichlet(simplex + 1)),
        "exponential_gamma": (D.Exponential(a), D.Gamma(b, a)),
        "gamma_exponential": (D.Gamma(b, a), D.Exponential(a)),
        "chi2_gamma": (D.Chi2(a), D.Gamma(a, b)),
        "normal_beta": (D.Normal(a, b), D.Beta(a, b)),
        "log_normal": (cases["log_normal"][0](a, b), cases["log_normal"][0](b, a)),
        "vectors": (cases["vectors"][0](a, b), cases["vectors"][0](b, a)),
    }
