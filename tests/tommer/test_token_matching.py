"""The ToMMeR head against the formula itself: every span on its own, in double precision."""

from __future__ import annotations

import json
import math
import shutil
from itertools import product
from pathlib import Path

import pytest
import torch

from spacy_llm2ner.heads import MASKED, TokenMatching

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "tommer" / "ToMMeR-Llama-3.2-1B_L6_R64"
SETTINGS = [
    {"use_cosine": cosine, "normalize_scores": squash, "sliding_window": window,
     "causal_mask": causal, "mask_bos": bos}
    for cosine, squash, window, causal, bos in product(
        (True, False), ("", "log_sigmoid", "atan"), (0, 1, 5), (True, False), (True, False)
    )
]  # fmt: skip


def match(head: TokenMatching, q: torch.Tensor, k: torch.Tensor) -> float:
    """s_ij of one end and one start."""
    if head.use_cosine:
        score = float(q @ k / (q.norm().clamp_min(1e-12) * k.norm().clamp_min(1e-12)))
    else:
        score = float(q @ k) / math.sqrt(head.rank)
    if head.normalize_scores == "log_sigmoid":
        return -math.log1p(math.exp(-score))
    return math.atan(score) if head.normalize_scores == "atan" else score


def dense(head: TokenMatching, h: torch.Tensor) -> torch.Tensor:
    """The square of logits [end, start] of one text h (pieces, width); NaN where no span is."""
    h = h.double()
    n, w = len(h), head.sliding_window
    w_q, w_k = head.W_Q[0].detach().double(), head.W_K[0].detach().double()
    scale = head.scale.double()
    q, k = h * scale @ w_q, h * scale @ w_k
    v = (h * scale @ head.probe[0].detach().double() + head.bias[0].detach().double()).tolist()
    theta = head.theta[0].detach().double().tolist()

    def seen(i: int, j: int) -> bool:
        near = w == 0 or abs(i - j) <= w
        return near and (j <= i or not head.causal_mask)

    s = [[match(head, q[i], k[j]) if seen(i, j) else 0.0 for j in range(n)] for i in range(n)]
    z = torch.full((n, n), math.nan, dtype=torch.float64)
    for i in range(n):
        for j in range(i + 1):
            if not seen(i, j) or (j == 0 and head.mask_bos):
                continue
            inner = [s[i][k] for k in range(j + 1, n)]
            features = (
                s[i][j],
                min([0.0, *inner]),
                max([0.0, *inner]),
                v[i],
                v[i + 1] if i + 1 < n else 0.0,
            )
            z[i, j] = sum(t * f for t, f in zip(theta, features, strict=True))
    return z


def check(head: TokenMatching, texts: list[torch.Tensor], tolerance: float) -> None:
    lengths = torch.tensor([len(text) for text in texts])
    states = torch.full((len(texts), int(lengths.max()), texts[0].shape[1]), 7.5).to(texts[0])
    for row, text in zip(states, texts, strict=True):
        row[: len(text)] = text
    logits = head(states, lengths).detach()
    size = head.sliding_window + 1 if head.sliding_window else states.shape[1]
    assert logits.shape == (len(texts), states.shape[1], size)
    for band, text in zip(logits, texts, strict=True):
        square = dense(head, text)
        for j, o in product(range(band.shape[0]), range(size)):
            i = j + o
            if i < len(text) and not square[i, j].isnan():
                assert abs(float(band[j, o]) - float(square[i, j])) <= tolerance
            else:
                assert float(band[j, o]) == MASKED


def random_head(**settings) -> TokenMatching:
    head = TokenMatching(width=12, rank=5, **settings)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape))
        head.W_Q.mul_(0.5)
        head.theta.mul_(8)
    return head


def texts_of(*lengths: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 12, generator=generator) for n in lengths]


def planted(length: int) -> torch.Tensor:
    """States as real LLMs have them: a huge first one, repeated ones, an all-zero one."""
    states = torch.randn(length, 12, generator=torch.Generator().manual_seed(3))
    states[0] *= 400
    states[3] = states[2]
    states[5] = 0
    states[:, 7] *= 50
    return states


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_every_setting_follows_the_formula(settings):
    torch.manual_seed(1)
    head = random_head(**settings)
    check(head.double(), [t.double() for t in texts_of(9, 4, 1)], 1e-10)


@pytest.mark.parametrize("cosine", [True, False])
def test_float32_follows_the_formula_on_planted_states(cosine):
    torch.manual_seed(2)
    head = random_head(use_cosine=cosine, sliding_window=4)
    with torch.no_grad():
        head.probe.mul_(0.01)
        head.W_K.mul_(1 if cosine else 0.001)
    check(head, [planted(11), planted(7)], 2e-4)
    check(head.double(), [planted(11).double()], 1e-10)


def test_a_text_does_not_know_its_neighbours():
    torch.manual_seed(4)
    head = random_head(sliding_window=6)
    short, long = texts_of(5, 40)
    alone = head(short[None], torch.tensor([5]))
    states = torch.full((2, 40, 12), math.nan)
    states[0], states[1, :5] = long, short
    together = head(states, torch.tensor([40, 5]))
    assert torch.allclose(together[1, :5], alone[0], atol=1e-5)
    assert bool((together[1, 5:] == MASKED).all())


def test_the_special_first_piece_changes_no_other_span():
    torch.manual_seed(5)
    head = random_head(sliding_window=6)
    (text,) = texts_of(15)
    with_it = head(text[None], torch.tensor([15]))[0, 1:]
    head.mask_bos = False
    without = head(text[None, 1:], torch.tensor([14]))[0]
    assert torch.allclose(with_it, without, atol=1e-5)


def test_gradients_reach_every_parameter_and_are_right():
    torch.manual_seed(6)
    head = random_head(sliding_window=3).double()
    (text,) = texts_of(7)
    lengths = torch.tensor([7])
    legal = head(text[None].double(), lengths) > MASKED / 2
    names = [name for name, _ in head.named_parameters()]

    def total(*values):
        logits = torch.func.functional_call(
            head, dict(zip(names, values, strict=True)), (text[None].double(), lengths)
        )
        return logits[legal].sigmoid().sum()

    values = tuple(p.detach().requires_grad_() for p in head.parameters())
    assert torch.autograd.gradcheck(total, values)


def test_an_untrained_head_finds_nothing():
    for cosine in (True, False):
        head = TokenMatching(width=12, rank=2, use_cosine=cosine)
        head.fit_states(texts_of(30))
        logits = head(texts_of(30)[0][None] * 10, torch.tensor([30]))
        assert bool((logits < 0).all())


def test_labels_are_heads_side_by_side():
    torch.manual_seed(7)
    (text,) = texts_of(9)
    both = TokenMatching(width=12, rank=5, sliding_window=3, n_labels=2)
    with torch.no_grad():
        both.probe.copy_(torch.randn(2, 12))
        both.theta[1] *= 3
    logits = both(text[None], torch.tensor([9]))
    assert logits.shape == (1, 9, 4, 2)
    for label in range(2):
        one = TokenMatching(width=12, rank=5, sliding_window=3)
        with torch.no_grad():
            for name, value in one.named_parameters():
                value.copy_(getattr(both, name)[label : label + 1])
        assert torch.allclose(logits[..., label], one(text[None], torch.tensor([9])), atol=1e-5)


def test_features_times_weights_are_the_logits():
    torch.manual_seed(8)
    head = random_head(sliding_window=4)
    states, lengths = texts_of(8)[0][None], torch.tensor([8])
    logits, features = head(states, lengths), head.features(states, lengths)
    legal = logits > MASKED / 2
    summed = (features[..., 0, :] * head.theta[0]).sum(-1)
    assert torch.allclose(summed[legal], logits[legal], atol=1e-4)


def test_published_heads_go_to_disk_and_back(tmp_path):
    torch.manual_seed(9)
    head = random_head(sliding_window=4, use_cosine=False, normalize_scores="atan")
    sample = texts_of(20, seed=5)
    head.fit_states(sample)  # the scale is multiplied into the published weights
    head.save_tommer(tmp_path / "head", llm_name="org/llm", layer=3)
    loaded = TokenMatching.from_tommer(tmp_path / "head")
    assert (loaded.definition.llm_name, loaded.definition.layer) == ("org/llm", 3)
    assert (loaded.sliding_window, loaded.use_cosine, loaded.normalize_scores) == (4, False, "atan")
    states, lengths = sample[0][None], torch.tensor([20])
    assert torch.allclose(head(states, lengths), loaded(states, lengths), atol=1e-4)
    names = set(torch.load(tmp_path / "head" / "parameters", weights_only=True))
    assert names == {"W_Q", "W_K", "cl_w", "classifier.fc.weight", "classifier.fc.bias"}
    # A second time, without saying what is known from the first.
    loaded.save_tommer(tmp_path / "again")
    again = TokenMatching.from_tommer(tmp_path / "again")
    assert again.definition == loaded.definition


def test_the_newer_layout_is_read_too(tmp_path):
    from safetensors.torch import save_file

    head = random_head(sliding_window=4)
    head.save_tommer(tmp_path / "old", llm_name="org/llm", layer=3)
    content = json.loads((tmp_path / "old" / "definition.json").read_text())
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "experimaestro.json").write_text(json.dumps(content["objects"]))
    tensors = torch.load(tmp_path / "old" / "parameters", weights_only=True)
    save_file(tensors, tmp_path / "new" / "model.safetensors")
    loaded = TokenMatching.from_tommer(tmp_path / "new")
    assert torch.equal(loaded.W_Q, head.W_Q)


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


def test_pickled_code_is_never_run(tmp_path):
    random_head().save_tommer(tmp_path, llm_name="org/llm", layer=3)
    torch.save({"W_Q": Evil()}, tmp_path / "parameters")
    with pytest.raises(ValueError, match="objects other than tensors"):
        TokenMatching.from_tommer(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "parameters").unlink(), "there is no ToMMeR head in the folder"),
        (lambda f: (f / "definition.json").write_text("{"), "does not describe a ToMMeR head"),
        (lambda f: (f / "definition.json").write_text('{"objects": []}'), "does not describe"),
        (lambda f: torch.save({"W_Q": torch.zeros(3, 2)}, f / "parameters"), "the tensors of"),
        (lambda f: torch.save([1], f / "parameters"), "the tensors of"),
        (lambda f: shutil.rmtree(f), "neither a folder nor a hub id"),
    ],
)
def test_broken_folders_are_told_apart(tmp_path, change, message):
    folder = tmp_path / "head"
    random_head().save_tommer(folder, llm_name="org/llm", layer=3)
    change(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        TokenMatching.from_tommer(folder)


@pytest.mark.parametrize(
    "settings", [{"rank": 0}, {"sliding_window": -1}, {"normalize_scores": "softmax"}]
)
def test_settings_out_of_range_are_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        TokenMatching(width=12, **settings)


def test_a_head_without_an_llm_cannot_be_published(tmp_path):
    with pytest.raises(ValueError, match="save_tommer needs the LLM's name"):
        random_head().save_tommer(tmp_path)


@pytest.fixture
def published() -> TokenMatching:
    if not PUBLISHED.is_dir():
        pytest.skip(f"needs the published head in {PUBLISHED}")
    return TokenMatching.from_tommer(PUBLISHED)


def test_the_published_head_is_what_it_says(published):
    assert sum(p.numel() for p in published.parameters()) == 264_198
    theta = [29.714, 22.738, -13.437, -0.0309, 0.4027]
    assert published.theta[0].tolist() == pytest.approx(theta, abs=1e-3)
    assert published.bias.item() == pytest.approx(-2.0431, abs=1e-4)
    assert published.definition.llm_name == "meta-llama/Llama-3.2-1B"
    assert (published.definition.layer, published.sliding_window) == (6, 25)


def test_the_published_head_follows_the_formula(published):
    generator = torch.Generator().manual_seed(0)
    texts = [0.3 * torch.randn(n, 2048, generator=generator) for n in (40, 33)]
    # Starts and ends that fit, so that some spans are mentions.
    q, k = published.W_Q[0].detach(), published.W_K[0].detach()
    for start, end in ((4, 6), (20, 20), (30, 32)):
        code = torch.randn(64, generator=generator)
        texts[0][start] += torch.linalg.lstsq(k.T, code).solution * 2
        texts[0][end] += torch.linalg.lstsq(q.T, code).solution * 2
    check(published, texts, 2e-4)
    check(published.double(), [t.double() for t in texts], 1e-10)
