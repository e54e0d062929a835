import numpy as np
import pytest

from tfhash import losses


@pytest.mark.parametrize(
    ("num_classes", "bits"), [(10, 16), (128, 64), (10, 12), (100, 48), (2, 1)]
)
def test_centers_are_far_apart_and_the_same_every_time(num_classes, bits):
    centers = losses.class_centers(num_classes, bits)
    np.testing.assert_array_equal(centers, losses.class_centers(num_classes, bits))
    assert centers.shape == (num_classes, bits)
    assert set(np.unique(centers)) <= {-1.0, 1.0}
    distances = (bits - centers @ centers.T) / 2 + bits * np.eye(num_classes)
    assert distances.min() >= bits / 4
    if bits in (16, 64):
        assert distances.min() == bits / 2


@pytest.mark.parametrize(("num_classes", "bits"), [(8, 3), (10, 4), (100, 8), (256, 8), (1000, 12)])
def test_every_class_has_a_center_of_its_own_while_there_are_codes(num_classes, bits):
    centers = losses.class_centers(num_classes, bits)
    assert len(np.unique(centers, axis=0)) == num_classes


@pytest.mark.parametrize(("num_classes", "bits"), [(4, 16), (10, 16), (10, 64), (100, 128)])
def test_no_bit_is_the_same_in_all_centers(num_classes, bits):
    assert (np.abs(losses.class_centers(num_classes, bits).sum(axis=0)) < num_classes).all()
