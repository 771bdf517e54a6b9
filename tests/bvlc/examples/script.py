"""A pycaffe script, for whichever Caffe runs it: trains by hand, looks inside, operates on the net.

script.py OUT.npz, in a folder with the prototxt files, the data and first.caffemodel.
"""

import sys

import caffe
import numpy as np
from caffe import layers as L
from caffe import params as P

caffe.set_mode_cpu()
caffe.set_random_seed(1)
arrays = {}

# Training by hand, and a test loop on the solver's own test net
solver = caffe.SGDSolver("classifier_solver.prototxt")
solver.net.copy_from("first.caffemodel")
print([(k, v.data.shape) for k, v in solver.net.blobs.items()])
print([(k, v[0].data.shape, v[1].data.shape) for k, v in solver.net.params.items()])
solver.net.forward()
solver.test_nets[0].forward()
arrays["first rows"] = solver.net.blobs["data"].data[:8, 0].transpose(1, 0, 2).reshape(12, -1)
arrays["labels"] = solver.net.blobs["label"].data[:8].copy()
conv1, accuracy = solver.net.params["conv1"], solver.test_nets[0].blobs["accuracy"]
loss, scores, slopes = (solver.net.blobs["loss"].data, solver.net.blobs["ip2"].data, conv1[0].diff)
niter, test_interval = 12, 4
train_loss, test_acc, norms = np.zeros(niter), np.zeros(niter // test_interval), np.zeros((niter, 2))
output = np.zeros((niter, 8, 4))
for it in range(niter):
    solver.step(1)
    train_loss[it] = solver.net.blobs["loss"].data
    assert loss == train_loss[it]  # views go on showing what the blobs hold
    norms[it] = np.abs(slopes).sum(), np.square(scores).sum()
    solver.test_nets[0].forward(start="scale")
    output[it] = solver.test_nets[0].blobs["ip2"].data[:8]
    if it % test_interval == 0:
        correct = 0
        for _ in range(3):
            solver.test_nets[0].forward()
            correct += sum(
                solver.test_nets[0].blobs["ip2"].data.argmax(1) == solver.test_nets[0].blobs["label"].data
            )
        test_acc[it // test_interval] = correct / 75.0
arrays.update(train_loss=train_loss, test_acc=test_acc, output=output, norms=norms)
arrays.update(accuracy=accuracy.data.copy(), filters=conv1[0].data.copy(), iter=solver.iter)

# What BVLC Caffe's own loop would do, step by step
net = solver.net
net.clear_param_diffs()
net.forward()
net.backward()
for blobs in net.params.values():
    for blob in blobs:
        blob.data[...] -= 0.01 * blob.diff
        blob.diff[...] *= 0
arrays["by hand"] = net.forward()["loss"].copy()
net.save("trained.caffemodel")

# Watching the layers run, and the clock
calls, timer = [], caffe.Timer()
net.before_forward(lambda i: calls.append((0, i, np.abs(net.blobs["conv1"].data).sum())))
net.after_forward(lambda i: calls.append((1, i, np.abs(net.blobs["ip2"].data).sum())))
net.before_backward(lambda i: calls.append((2, i, np.abs(net.blobs["ip1"].data).sum())))
net.after_backward(lambda i: calls.append((3, i, np.abs(net.blobs["loss"].data).sum())))
timer.start()
net.forward()
net.backward(end="ip1")
net.forward(start="ip1", end="relu3")
timer.stop()
arrays["watched"] = np.array(calls)
assert timer.ms >= 0
caffe.log(f"{len(calls)} calls of layers, {caffe.solver_count()} solver, NCCL: {caffe.has_nccl()}")

# Saliency: which pixels a class score hangs on
spec = caffe.NetSpec()
spec.data = L.Input(input_param={"shape": {"dim": [1, 3, 12, 12]}})
spec.scaled = L.Power(spec.data, name="scale", power_param={"scale": 0.00390625, "shift": -0.5})
spec.conv1 = L.Convolution(spec.scaled, num_output=8, kernel_size=5, pad=2)
spec.pool1 = L.Pooling(spec.conv1, pool=P.Pooling.MAX, kernel_size=3, stride=2)
spec.relu1 = L.ReLU(spec.pool1, in_place=True)
spec.norm1 = L.LRN(spec.relu1, local_size=3, alpha=5e-5, beta=0.75, norm_region=P.LRN.WITHIN_CHANNEL)
spec.conv2 = L.Convolution(spec.norm1, num_output=12, kernel_size=3, pad=1, group=2)
spec.relu2 = L.ReLU(spec.conv2, in_place=True)
spec.pool2 = L.Pooling(spec.relu2, pool=P.Pooling.AVE, kernel_size=3, stride=2, pad=1)
spec.ip1 = L.InnerProduct(spec.pool2, num_output=30)
spec.relu3 = L.ReLU(spec.ip1, in_place=True)
spec.ip2 = L.InnerProduct(spec.relu3, num_output=4)
spec.prob = L.Softmax(spec.ip2)
proto = spec.to_proto()
proto.force_backward = True
with open("deploy.prototxt", "w") as file:
    file.write(str(proto))
deploy = caffe.Net("deploy.prototxt", "trained.caffemodel", caffe.TEST)
transformer = caffe.io.Transformer({"data": deploy.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
transformer.set_raw_scale("data", 255)
transformer.set_channel_swap("data", (2, 1, 0))
image = np.random.RandomState(3).random_sample((12, 12, 3))
deploy.blobs["data"].data[...] = transformer.preprocess("data", image)
out = deploy.forward()
arrays["top class"] = out["prob"][0].argmax()
deploy.blobs["prob"].diff[0, arrays["top class"]] = 1
arrays["saliency"] = deploy.backward()["data"].copy()
arrays["back to conv2"] = deploy.backward(end="pool2")["conv2"].copy()
arrays["features"] = deploy.forward_all(blobs=["ip1"], data=np.tile(image.transpose(2, 0, 1), (3, 1, 1, 1)))[
    "ip1"
]

# Net surgery: the inner products as convolutions, over a larger image
side = deploy.blobs["pool2"].data.shape[2]
for name, kernel in (("ip1", side), ("ip2", 1)):
    old = next(layer for layer in proto.layer if layer.name == name)
    outputs = old.inner_product_param.num_output
    old.ClearField("inner_product_param")
    old.type, old.name = "Convolution", name + "-conv"
    old.convolution_param.num_output = outputs
    old.convolution_param.kernel_size.append(kernel)
proto.layer[0].input_param.shape[0].dim[2:] = [24, 20]
with open("surgery.prototxt", "w") as file:
    file.write(str(proto))
surgery = caffe.Net("surgery.prototxt", "trained.caffemodel", caffe.TEST)
for name in "ip1", "ip2":
    surgery.params[name + "-conv"][0].data.flat = deploy.params[name][0].data.flat
    surgery.params[name + "-conv"][1].data[...] = deploy.params[name][1].data
surgery.blobs["data"].data[...] = np.random.RandomState(4).random_sample((3, 24, 20)) * 255
arrays["map"] = surgery.forward()["prob"].copy()
surgery.blobs["data"].reshape(2, 3, 16, 16)
arrays["reshaped"] = surgery.forward(data=np.full((2, 3, 16, 16), 100))["prob"].copy()

np.savez(sys.argv[1], **arrays)
