from scipy.fft import next_fast_len

from utils.distortions.filtering import fast_length


def test_fast_lengths_are_those_of_scipy() -> None:
    assert [fast_length(n) for n in range(1, 5000)] == [next_fast_len(n, real=True) for n in range(1, 5000)]
