from random import Random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from burnish.compress.student import Student, chosen_layers, distance, shallower
from burnish.errors import UsageError
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune
from tests.tiny import tiny_model, tiny_work


def test_layers_are_spread_over_the_depth() -> None:
    assert chosen_layers(12, 6, "spread") == [0, 2, 4, 7, 9, 11]
    assert chosen_layers(6, 3, "spread") == [0, 2, 5]
    assert chosen_layers(6, 2, "first") == [0, 1]


@pytest.mark.parametrize("objective", ["cross_entropy", "binary_cross_entropy", "mean_squared_error"])
def test_a_student_that_says_the_same_has_no_distance_left_to_go(objective: str) -> None:
    teacher = torch.randn(5, 3)
    said = teacher.clone().requires_grad_()
    distance(said, teacher, objective=objective, temperature=2.0).backward()
    assert said.grad is not None
    assert float(said.grad.abs().max()) < 1e-6


def test_the_distance_is_hintons() -> None:
    student, teacher, t = torch.randn(4, 3), torch.randn(4, 3), 3.0
    p, q = F.softmax(teacher / t, -1), F.softmax(student / t, -1)
    expected = t**2 * (p * (p.log() - q.log())).sum()
    found = distance(student, teacher, objective="cross_entropy", temperature=t)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_the_student_has_fewer_layers_and_comes_near_its_teacher() -> None:
    teacher = FineTune(epochs=8, lr=3e-3, precision="fp32")(tiny_work(train=200, layers=4), Random(0))
    student = Student(share=0.5, epochs=6, lr=3e-3, precision="fp32")(teacher, Random(0))
    assert len(student.model.bert.encoder.layer) == student.model.config.num_hidden_layers == 2
    assert student.notes["kept_layers"] == [0, 3]
    targets = teacher.task.encode(teacher.valid)
    scores = [w.task.score(outputs_of_rows(w.model, w.tokenizer, w.valid, 64), targets) for w in (teacher, student)]
    assert scores[1] >= scores[0] - 0.1
    assert scores[0] > 0.85


def test_the_teacher_matters() -> None:
    """With labels left out (alpha 0), the student still learns: only the teacher can have told it."""
    teacher = FineTune(epochs=8, lr=3e-3, precision="fp32")(tiny_work(train=200, layers=4), Random(0))
    student = Student(alpha=0.0, epochs=6, lr=3e-3, precision="fp32")(teacher, Random(0))
    said = [outputs_of_rows(w.model, w.tokenizer, w.valid, 64).argmax(1) for w in (teacher, student)]
    assert np.mean(said[0] == said[1]) > 0.85


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        shallower(tiny_model(), 1.0, "spread")
