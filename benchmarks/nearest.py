"""Time and memory of exact nearest neighbours against the bare matrix product and against faiss.

Every contender looks up the same states in the same bank. First all results are compared with a float64
search of some states; only then is anything timed. faiss is timed where it is installed (``pip install
faiss-cpu``), with its index already built. ``--quick`` shrinks everything to seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec

import torch
from jaxtyping import Float, Int
from torch import Tensor

from measure import Work, interleaved, machine, peak_extra_bytes, ratio, table
from patchlens.lens.nearest import entries_at_once, search, unit
from patchlens.lens.similar import TokenBank, similarity_statistics
from patchlens.models.unembed import Unembed

K = 5
PRODUCT = "bare product, in chunks"
SIZES = ((100_000, 128), (100_000, 1024), (1_000_000, 128), (1_000_000, 1024))
QUICK_SIZES = ((20_000, 64),)

Found = tuple[Int[Tensor, "row k"], Float[Tensor, "row k"]]


def made(n: int, d_model: int, rows: int) -> tuple[Tensor, Tensor]:
    """Unit entries, and states that lie near some of them."""
    torch.manual_seed(0)
    bank = torch.randn(n, d_model)
    bank /= bank.norm(dim=-1, keepdim=True)
    states = 3 * (bank[torch.randint(n, (rows,))] + 0.7 * torch.randn(rows, d_model) / d_model**0.5)
    return states, bank


def product(states: Tensor, bank: Tensor) -> float:
    """The matrix product alone, forgetting what it gives."""
    rows = unit(states)
    for entries in bank.split(entries_at_once(bank.shape[1])):
        last = rows @ entries.T
    return float(last[0, 0])


def whole(states: Tensor, bank: Tensor) -> Found:
    """All similarities at once."""
    near, order = (unit(states) @ bank.T).topk(K)
    return order, near


def flat_index(bank: Tensor) -> Callable[[Tensor], Found]:
    """Exact inner products by faiss, which copies the bank."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank.numpy())

    def look_up(states: Tensor) -> Found:
        near, order = index.search(unit(states).numpy(), K)
        return torch.from_numpy(order), torch.from_numpy(near)

    return look_up


def check(states: Tensor, bank: Tensor, found: Found, name: str) -> None:
    """Assert that the neighbours of some states are those of a float64 search."""
    some = slice(None, None, max(1, len(states) // 8))
    rows = states[some].double()
    rows /= rows.norm(dim=-1, keepdim=True)
    best, order = torch.cat([rows @ part.double().T for part in bank.split(20_000)], 1).topk(K)
    assert torch.equal(found[0][some], order), f"{name}: other neighbours than a float64 search"
    error = float((found[1][some] - best).abs().max())
    assert error < 1e-5, f"{name}: similarities off by {error}"


def timed(works: dict[str, Work], repeats: int) -> list[tuple[str, ...]]:
    """Rows of a table: time against the bare product, seconds, and peak memory beyond what was there."""
    seconds = interleaved(works, repeats)
    rows: list[tuple[str, ...]] = []
    for name, work in works.items():
        extra = peak_extra_bytes(work)
        against = ratio(seconds[name], seconds[PRODUCT])
        rows.append(
            (
                name,
                f"{against:.2f}",
                f"{min(seconds[name]):.2f}",
                "?" if extra is None else f"{extra / 1e6:.0f}",
            )
        )
    return rows


def searching(n: int, d_model: int, rows: int, repeats: int) -> str:
    states, bank = made(n, d_model, rows)
    lookers: dict[str, Callable[[], Found]] = {
        "patchlens": lambda: search(states, bank, K),
        "all similarities, topk": lambda: whole(states, bank),
    }
    if find_spec("faiss"):
        index = flat_index(bank)
        lookers["faiss IndexFlatIP"] = lambda: index(states)
    for name, look_up in lookers.items():
        check(states, bank, look_up(), name)
    works: dict[str, Work] = {PRODUCT: lambda: product(states, bank), **lookers}
    return report(f"{K} nearest of {n} x {d_model} for {rows} states", timed(works, repeats))


def reading(n: int, d_model: int, rows: int, repeats: int, per_token: int = 20) -> str:
    """A whole reading: the best of each token's states, shares, entropy, KL."""
    states, bank = made(n, d_model, rows)
    tokens = torch.arange(n // per_token).repeat_interleave(per_token)
    vocab = len(tokens) // per_token
    unembed = Unembed(torch.nn.RMSNorm(d_model), torch.randn(vocab, d_model) / d_model**0.5)
    resid = states.unflatten(0, (4, -1))

    def read() -> object:
        own = TokenBank(bank[None, : len(tokens)], tokens)
        return similarity_statistics(resid, resid[-1], unembed, own, 0.05, top_k=K)

    statistics = similarity_statistics(
        resid, resid[-1], unembed, TokenBank(bank[None, : len(tokens)], tokens), 0.05, top_k=K
    )
    near = unit(states[:8]).double() @ bank[: len(tokens)].double().T
    best = near.unflatten(1, (-1, per_token)).amax(-1).topk(K)
    got = 0.05 * (statistics.top_logprobs + statistics.logsumexp[..., None])
    assert torch.equal(statistics.top_ids.flatten(0, 1)[:8].long(), best.indices), "other tokens"
    assert torch.allclose(got.flatten(0, 1)[:8].double(), best.values, atol=1e-5), "other similarities"
    works: dict[str, Work] = {PRODUCT: lambda: product(states, bank), "patchlens, all statistics": read}
    return report(
        f"reading {rows} states: {n} x {d_model}, {per_token} per token, vocabulary {vocab}",
        timed(works, repeats),
    )


def report(title: str, rows: list[tuple[str, ...]]) -> str:
    return f"### {title}\n\n{table(('', 'time / bare product', 's', 'peak extra MB'), rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--rows", type=int, default=512, help="states looked up, a multiple of 4")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; ratios are medians over rounds")
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of torch and faiss, 0 for the default"
    )
    parser.add_argument(
        "--largest", type=int, default=10**10, help="leave out banks of more numbers than this"
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{machine()}\n")
    if find_spec("faiss") is None:
        print("faiss: not installed\n")
    for n, d_model in QUICK_SIZES if options.quick else SIZES:
        if n * d_model <= options.largest:
            print(searching(n, d_model, options.rows, options.repeats), flush=True)
            print(reading(n, d_model, options.rows, options.repeats), flush=True)


if __name__ == "__main__":
    main()
