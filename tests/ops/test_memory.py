import math

import pytest
import torch

from recurseg.ops.memory import Access, empty_memory, fast, memory_step, reference

CPU = torch.device("cpu")


def interface(access, batch=1, **parts):
    """An interface vector of zeros but for the parts given."""
    values = {name: torch.zeros(batch, length) for name, length in access.parts.items()}
    for name, value in parts.items():
        values[name][:] = torch.as_tensor(value, dtype=torch.float32)
    return torch.cat(list(values.values()), dim=1)


ACCESSES = {
    "strength": Access(word=5, heads=3),
    "no_strength": Access(word=5, heads=3, strength=False),
    "dnc": Access(word=5, heads=3, addressing="dnc"),
}


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES)
@pytest.mark.parametrize(("batch", "slots", "steps"), [(1, 1, 2), (2, 7, 9), (3, 4, 1)])
def test_fast_equals_the_papers_equations_in_reads_memory_and_gradients(access, batch, slots, steps):
    found = []
    for op in (reference, fast):
        torch.manual_seed(0)
        content = torch.randn(batch, slots, access.word, requires_grad=True)
        vectors = [torch.randn(batch, access.size, requires_grad=True) for _ in range(steps)]
        memory, loss = empty_memory(access, batch, slots, CPU)._replace(content=content), torch.zeros(())
        for vector in vectors:
            reads, memory = op.memory_step(memory, vector, access)
            loss = loss + (reads * torch.randn_like(reads)).sum()
        loss = loss + (memory.content * torch.randn_like(memory.content)).sum()
        loss = loss + sum((part * torch.randn_like(part)).sum() for part in memory.links or ())
        found.append([loss, *memory[:3], *(memory.links or ()), *torch.autograd.grad(loss, [content, *vectors])])
        assert memory.writes == steps
    for ours, paper in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, paper, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("op", [reference, fast], ids=["reference", "fast"])
def test_a_hand_worked_step(op):
    """Two slots of one number, one head: the write goes half by content, half to the least used slot."""
    access = Access(word=1, heads=1, strength=False)
    memory = empty_memory(access, 1, 2, CPU)._replace(content=torch.tensor([[[2.0], [-1.0]]]))
    memory = memory._replace(usage=torch.tensor([[0.5, 0.25]]))
    vector = interface(access, keys=[1.0, 3.0], erase=0.0, add=4.0, content_gate=0.0)
    reads, after = op.memory_step(memory, vector, access)
    e = math.e
    near, far = e / (e + 1 / e), (1 / e) / (e + 1 / e)  # softmax of the cosines 1 and -1
    write = [0.5 * near, 0.5 * far + 0.5]
    content = [2 * (1 - 0.5 * write[0]) + 4 * write[0], -1 * (1 - 0.5 * write[1]) + 4 * write[1]]
    torch.testing.assert_close(after.content.flatten(), torch.tensor(content), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after.usage.flatten(), torch.tensor([0.5 + 0.5 * write[0], 0.25 + 0.75 * write[1]]))
    both = sum(content) / 2  # both slots are positive now, so both cosines are 1
    torch.testing.assert_close(reads.flatten(), torch.tensor([both]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("addressing", ["least_used", "dnc"])
def test_a_memory_of_zeros_is_safe(addressing):
    access = Access(word=4, heads=2, addressing=addressing)
    vector = interface(access).requires_grad_()
    reads, memory = memory_step(empty_memory(access, 1, 3, CPU), vector, access)
    reads, memory = memory_step(memory, vector, access)
    (reads.sum() + memory.content.sum()).backward()
    assert reads.isfinite().all()
    assert vector.grad.isfinite().all()


def test_slots_are_taken_one_after_the_other_and_then_the_least_recently_written_is_overwritten():
    access = Access(word=2, heads=1)
    memory, slots = empty_memory(access, 1, 3, CPU), []
    for number in range(5):
        vector = interface(access, add=[number + 1.0, 1.0], erase=20.0, content_gate=-20.0)
        before = memory
        _, memory = memory_step(memory, vector, access)
        slots.append(int((memory.content != before.content).any(dim=2).float().argmax()))
    assert slots == [0, 1, 2, 0, 1]
    assert memory.written.tolist() == [[4, 5, 3]]
    assert memory.turnover.tolist() == [2]
    torch.testing.assert_close(memory.content[0, :, 0], torch.tensor([4.0, 5.0, 3.0]))


def test_without_strength_a_read_is_nearly_the_mean_of_all_slots():
    slots = 400
    access = Access(word=8, heads=1, strength=False)
    content = torch.nn.functional.normalize(-torch.ones(1, slots, 8), dim=2)
    content[:, 0] *= -1
    memory = empty_memory(access, 1, slots, CPU)._replace(content=content)
    vector = interface(access, keys=[1.0] * 8 + [0.0] * 8, content_gate=20.0)
    read = reference.weighted_step(memory, vector, access)[3]
    assert float(read.max()) == pytest.approx(math.e**2 / (math.e**2 + slots - 1), rel=1e-3)


def test_interface_vectors_have_the_lengths_of_the_papers():
    assert Access(word=128, heads=32, strength=False).size == 4481
    assert Access(word=128, heads=32).size == 4481 + 33
    assert Access(word=128, heads=32, addressing="dnc").size == 32 * 128 + 3 * 128 + 5 * 32 + 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_leaves_the_memory_in_float32(dtype):
    access = Access(word=4, heads=2)
    memory, vector = empty_memory(access, 1, 3, CPU), torch.randn(1, access.size)
    exact, _ = memory_step(memory, vector, access)
    with torch.autocast("cpu", dtype=dtype):
        reads, after = memory_step(memory, vector, access)
    assert reads.dtype == after.content.dtype == torch.float32
    assert torch.equal(reads, exact)


def test_links_of_a_differentiable_neural_computer_lead_to_what_was_written_next():
    """Three slots written in turn; a head that stands on the first and reads forward comes to the second."""
    access = Access(word=3, heads=1, addressing="dnc")
    memory = empty_memory(access, 1, 3, CPU)
    eye = torch.eye(3)
    open_gates = {"allocation_gate": 20.0, "write_gate": 20.0, "free_gates": -20.0}
    for number in range(3):
        _, memory = reference.memory_step(
            memory, interface(access, add=eye[number], erase=20.0, **open_gates), access
        )
    closed = {"write_gate": -20.0, "free_gates": -20.0, "strengths": [50.0, 0.0]}
    by_key = interface(access, keys=[1.0, 0, 0, 0, 0, 0], read_modes=[0.0, 20.0, 0.0], **closed)
    reads, memory = reference.memory_step(memory, by_key, access)
    torch.testing.assert_close(reads[0, 0], eye[0], atol=1e-3, rtol=0)
    reads, memory = reference.memory_step(memory, interface(access, read_modes=[0, 0, 20.0], **closed), access)
    torch.testing.assert_close(reads[0, 0], eye[1], atol=1e-3, rtol=0)
    reads, _ = reference.memory_step(memory, interface(access, read_modes=[20.0, 0, 0], **closed), access)
    torch.testing.assert_close(reads[0, 0], eye[0], atol=1e-3, rtol=0)
