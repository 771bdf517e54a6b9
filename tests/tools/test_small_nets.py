import caffe
import pytest

from tools import small_nets


@pytest.mark.parametrize("name", small_nets.NETS)
def test_the_nets_train(name, tmp_path):
    net = small_nets.NETS[name]
    solver = caffe.get_solver(str(small_nets.write_solver(net, tmp_path, 7)))
    assert solver.net.blobs["data"].shape == (net.batch, *net.shape)
    before = {layer: blobs[0].data.copy() for layer, blobs in solver.net.params.items()}
    solver.step(1)
    assert all((solver.net.params[layer][0].data != weights).any() for layer, weights in before.items())
    assert solver.param.max_iter == 7 and not solver.param.snapshot_after_train
