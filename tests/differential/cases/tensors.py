"""torch's objects."""

CASES = r"""
import collections, copy, functools, io, pickle
# ---- tensors of all types (needs torch)
import torch
kinds = [torch.tensor([1, 0, 2]).to(one) for one in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64)]
scalar, empty, column = torch.tensor(3.5), torch.empty(0, 2), torch.arange(6.0).reshape(2, 3).t()
>>> kinds, scalar, empty, column, scalar.item(), column.is_contiguous()
<<< kinds, scalar, empty, column
# ---- tensors that share memory (needs torch)
import torch
whole = torch.zeros(2, 3)
row, flat = whole[1], whole.view(-1)
>>> row.fill_(5), flat.sum(), whole, row.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr(), row.storage_offset()
<<< [whole, row]
# ---- tensors and arrays that share memory (needs torch)
import torch, numpy as np
array = np.zeros(4)
tensor = torch.from_numpy(array)
>>> tensor, array
<<< tensor, array
# ---- gradients, leaves and parameters (needs torch)
import torch
leaf = torch.ones(2, requires_grad=True)
param = torch.nn.Parameter(torch.zeros(2), requires_grad=False)
named = torch.nn.Buffer(torch.ones(1)) if hasattr(torch.nn, "Buffer") else torch.ones(1)
detached = (leaf * 2).detach()
>>> leaf, param, type(param), detached.requires_grad, leaf.is_leaf, named
>>> (leaf * 3).sum().backward(), leaf.grad
>>> leaf.grad = None
<<< leaf, param, detached
# ---- a module of the notebook, with tied weights and buffers (needs torch)
import torch
torch.manual_seed(0)
class Net(torch.nn.Module):
    def __init__(self, n=3):
        super().__init__()
        self.embed = torch.nn.Embedding(4, n)
        self.out = torch.nn.Linear(n, 4, bias=False)
        self.out.weight = self.embed.weight
        self.register_buffer("scale", torch.ones(1) * 2)
        self.register_buffer("temporary", torch.zeros(1), persistent=False)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(n, n), torch.nn.Dropout(0.5)])
        self.note = {"k": [1]}
    def forward(self, x):
        return self.out(self.layers(self.embed(x)) if False else self.embed(x)) * self.scale
net = Net().eval()
weight = net.embed.weight
>>> net(torch.tensor([1])), net.out.weight is net.embed.weight, weight is net.out.weight, list(net.state_dict()), net.training, repr(net)
>>> [name for name, _ in net.named_parameters()], net.note, [one.training for one in net.modules()]
<<< net.state_dict()
<<< net
# ---- an optimizer that knows the module's parameters (needs torch)
import torch
torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
model(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad(set_to_none=True)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
>>> optimizer.param_groups[0]["params"][0] is model.weight, optimizer.state_dict()["state"][0]["step"], optimizer.param_groups[0]["lr"], scheduler.optimizer is optimizer, loss
>>> [model(torch.ones(1, 2)).sum().backward(), optimizer.step(), model.weight.tolist()][2]
<<< model.state_dict()
# ---- hooks and functions on modules (needs torch)
import torch
calls = []
hooked = torch.nn.Linear(1, 1)
def hook(module, args, output):
    calls.append(type(module).__name__)
    return output * 0
handle = hooked.register_forward_hook(hook)
>>> hooked(torch.ones(1)).tolist(), calls, len(hooked._forward_hooks)
# ---- modules made anew, of functions, and in containers (needs torch)
import torch
stack = torch.nn.Sequential(collections.OrderedDict(a=torch.nn.ReLU(), b=torch.nn.Flatten()))
act = torch.nn.functional.relu
table = torch.nn.ModuleDict({"x": torch.nn.Identity()})
make = functools.partial(torch.nn.Linear, bias=False)
>>> stack, act(torch.tensor([-1.0])), table, make(1, 2).bias, act is torch.nn.functional.relu, stack.a
<<< stack, table
# ---- other objects of torch (needs torch)
import torch
dtype, device, size, fmt = torch.float16, torch.device("cpu"), torch.Size([2, 3]), torch.channels_last
generator = torch.Generator().manual_seed(4)
torch.rand(1, generator=generator)
normal = torch.distributions.Normal(0.0, 1.0)
>>> dtype is torch.float16, device, size, size.numel(), fmt is torch.channels_last, generator, torch.rand(2, generator=generator), normal.log_prob(torch.tensor(0.0)), torch.finfo(dtype).max
<<< dtype, device, size, fmt
# ---- sparse and quantized tensors (needs torch)
import torch
sparse = torch.eye(3).to_sparse()
csr = torch.eye(3).to_sparse_csr()
>>> sparse.to_dense(), sparse.layout, csr.to_dense(), csr.layout, sparse.is_coalesced()
<<< sparse.to_dense()
# ---- a class of tensors (needs torch)
import torch
class Tagged(torch.Tensor):
    tag = None
tagged = torch.ones(2).as_subclass(Tagged)
tagged.tag = "t"
>>> type(tagged) is Tagged, tagged.tag, tagged.tolist(), type(tagged + 1) is Tagged
<<< tagged
# ---- a function of autograd of one's own (needs torch)
import torch
class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x * 2
    @staticmethod
    def backward(ctx, g): return g * 10
def grad_of():
    x = torch.ones(1, requires_grad=True)
    Twice.apply(x).backward()
    return x.grad
>>> grad_of(), Twice.__name__ == "x"
<<< grad_of
# ---- data sets and loaders (needs torch)
import torch, torch.utils.data
class Squares(torch.utils.data.Dataset):
    def __len__(self): return 5
    def __getitem__(self, i): return i, i * i
squares = Squares()
loader = torch.utils.data.DataLoader(squares, batch_size=2, shuffle=False)
subset = torch.utils.data.Subset(squares, [3, 1])
split = torch.utils.data.random_split(range(10), [7, 3], torch.Generator().manual_seed(1))
>>> [batch[1].tolist() for batch in loader], subset[0], [list(one) for one in split], loader.dataset is squares, len(loader)
<<< subset
# ---- saving and loading by torch in a rank (needs torch)
import torch
class Saved(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.p = torch.nn.Parameter(torch.ones(1))
saved = Saved()
def there_and_back(x):
    file = io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    return torch.load(file, weights_only=False)
>>> type(there_and_back(saved)) is Saved, there_and_back(saved.state_dict()), there_and_back({"m": saved})["m"].p
# ---- classes that are containers for torch (needs torch)
import dataclasses, torch
import torch.utils._pytree as pytree
class Box:
    def __init__(self, parts): self.parts = parts
pytree.register_pytree_node(Box, lambda b: (b.parts, None), lambda ps, _: Box(list(ps)), serialized_type_name="case.Box")
@dataclasses.dataclass
class Point:
    x: torch.Tensor
    y: torch.Tensor
pytree.register_dataclass(Point)
box, point = Box([torch.ones(1), 2]), Point(torch.ones(1), torch.zeros(1))
>>> pytree.tree_leaves(box), pytree.tree_map(lambda x: x + 1, box).parts, len(pytree.tree_leaves([box, {"p": point}]))
>>> pytree.treespec_dumps(pytree.tree_structure(box)), pytree.tree_map(lambda x: x + 1, point)
<<< pytree.tree_leaves(box)
<<< point
# ---- hooks that are registered beside those that came along (needs torch)
import torch
hooked, called = torch.nn.Linear(1, 1), []
hooked.register_forward_hook(lambda *_: called.append("came"))
>>> later = hooked.register_forward_hook(lambda *_: called.append("added"))
>>> hooked(torch.ones(1)).shape, len(hooked._forward_hooks)
>>> called
"""
