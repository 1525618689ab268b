"""How far a student's layers are from its teacher's: hidden states, attention scores and relations, by row.

Each is a mean over the real tokens of a row, summed over rows: neither padding nor the batch a row is in counts.

Shapes: B = rows, S = tokens, H = width of the student, K = width of the teacher, A = heads, D = width of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["attention_loss", "hidden_loss", "layer_map", "relation_heads_for", "relation_loss", "scores"]

NEVER = -1e9  # a score that no softmax sees; finite, so that 0 x it is 0


def layer_map(student: int, teacher: int) -> list[int]:
    """Which of the teacher's layers each of the student's 1..M answers to: g(m) = m L / M, rounded (TinyBERT)."""
    return [int(m * teacher / student + 0.5) for m in range(1, student + 1)]


def hidden_loss(student_BSH: Tensor, teacher_BSK: Tensor, projection_HK: Tensor, mask_BS: Tensor) -> Tensor:
    """Mean square of student x projection - teacher over tokens and width, summed over rows (TinyBERT, eq. 8 and 9)."""
    apart_BS = (student_BSH.float() @ projection_HK.float() - teacher_BSK).square().mean(-1)
    return ((apart_BS * mask_BS).sum(1) / mask_BS.sum(1)).sum()


def scores(a_BSH: Tensor, b_BSH: Tensor, heads: int) -> Tensor:
    """a b' / sqrt(D) by head, [B, A, S, S]: attention before its softmax, where a are queries and b keys."""
    a_BASD, b_BASD = (x.float().unflatten(-1, (heads, -1)).transpose(1, 2) for x in (a_BSH, b_BSH))
    return a_BASD @ b_BASD.transpose(-1, -2) / a_BASD.shape[-1] ** 0.5


def attention_loss(student_BASS: Tensor, teacher_BASS: Tensor, mask_BS: Tensor) -> Tensor:
    """Mean squared difference of the scores over heads and pairs of real tokens, summed over rows (eq. 7)."""
    pairs_BSS = mask_BS[:, :, None] * mask_BS[:, None, :]
    apart_BSS = (student_BASS - teacher_BASS).square().mean(1)
    return ((apart_BSS * pairs_BSS).sum((1, 2)) / pairs_BSS.sum((1, 2))).sum()


def relation_loss(student_BSH: Tensor, teacher_BSK: Tensor, heads: int, mask_BS: Tensor) -> Tensor:
    """KL(teacher || student) of softmax(x x' / sqrt(D)), mean over heads and tokens, summed over rows (MiniLM v2)."""
    hide = (mask_BS == 0)[:, None, None, :]
    p_BASS, q_BASS = (
        F.log_softmax(scores(x, x, heads).masked_fill(hide, NEVER), -1) for x in (student_BSH, teacher_BSK)
    )
    apart_BS = (q_BASS.exp() * (q_BASS - p_BASS)).sum(-1).mean(1)
    return ((apart_BS * mask_BS).sum(1) / mask_BS.sum(1)).sum()


def relation_heads_for(student: int, teacher: int, narrowest: int = 16) -> int:
    """The most heads that divide both widths and leave the teacher's `narrowest` columns or more each; 48 for 768."""
    common = int(torch.gcd(torch.tensor(student), torch.tensor(teacher)))
    return max(n for n in range(1, common + 1) if common % n == 0 and (teacher // n >= narrowest or n == 1))
