"""Expressions of PyTorch code; what is compared is what they print, or the error they raise.

In them `torch`, `nn`, `F`, `nan` and `inf` are known. A snippet is called what it says.
"""

from __future__ import annotations

import math
from typing import Any

from tests.peers.snippets import SNIPPETS, Snippet

EXPRESSIONS = r"""
torch.tensor(1)
torch.tensor(1.5)
torch.tensor([True,False])
torch.tensor([1,2],dtype=torch.int32)
torch.tensor([1.,2.],dtype=torch.float64)
torch.tensor([1.5,2.],dtype=torch.float16)
torch.tensor([1.5,2.],dtype=torch.bfloat16)
torch.tensor([1+2j])
torch.tensor([])
torch.zeros(0,3)
torch.tensor([nan,inf,-inf])
torch.tensor([nan,1.,2.5])
torch.tensor([1e-10,1e10])
torch.tensor([1e6,1.5])
torch.tensor([123456789.0,0.1])
torch.arange(2000)
torch.ones(40,40)
torch.tensor([0.948656624])
torch.tensor([[1,2.5],[3,4]])
torch.tensor([1,2],dtype=torch.uint8)
torch.tensor(-0.08627059)
torch.tensor([2.,3.],requires_grad=True)
torch.arange(24.).view(2,3,4)
torch.tensor([[-1.5,2],[3,-400]])
torch.tensor([1e-5,1.])
torch.tensor([10000.,0.5])
torch.arange(30)*1.37
torch.arange(1200).reshape(3,400)
torch.tensor([1e9,2e9])
torch.tensor([1000.,1.])
torch.tensor([2000.,1.])
torch.zeros(3)
torch.tensor([nan])
torch.tensor(nan)
torch.tensor([1.,nan])
nn.Parameter(torch.ones(2,2))
torch.ones(2,requires_grad=True)*2
(torch.ones(2,requires_grad=True)+1)
torch.ones(2,requires_grad=True).sum()
torch.ones(2,2,requires_grad=True).sum(0)
torch.ones(2,2,requires_grad=True).mm(torch.ones(2,2))
torch.ones(2,requires_grad=True).view(1,2)
torch.relu(torch.ones(2,requires_grad=True))
torch.sigmoid(torch.zeros(2,requires_grad=True))
torch.ones(2,3).shape
torch.ones(2,3).size()
torch.ones(2,3).size(0)
torch.ones(2,3).size(-1)
torch.ones(3).dtype
torch.ones(3).device
torch.tensor([[3,1],[2,5]]).max(1)
torch.tensor([[3,1],[2,5]]).max()
torch.tensor([3.,1.,2.]).sort()
torch.tensor([3.,1.,2.]).topk(2)
torch.tensor([[3.,1.,2.]]).min(dim=1,keepdim=True)
torch.tensor([3.,1.,2.,4.]).median()
torch.ones(2,3).t().shape
torch.ones(2,3,4).permute(2,0,1).shape
torch.ones(2,3).unsqueeze(-1).shape
torch.ones(1,3).expand(4,-1).shape
torch.ones(2,3).transpose(0,1).shape
torch.arange(6).split(4)
torch.arange(7).chunk(3)
torch.cat([torch.ones(1,2),torch.zeros(1,2)])
torch.stack([torch.ones(2),torch.zeros(2)],1)
torch.arange(5).float().mean()
torch.arange(4).sum().item()
torch.tensor([1,2,3]).numel()
torch.eye(2)
torch.linspace(0,1,5)
torch.full((2,),7)
torch.full((2,),7.5)
torch.where(torch.tensor([True,False]),torch.ones(2),torch.zeros(2))
torch.tensor([1.,2.]).std()
torch.tensor([1.,2.,4.]).var(unbiased=False)
torch.tensor([5,7])/2
torch.tensor([5,7])//2
torch.tensor([-5,7])%3
torch.tensor([1,2])+1.5
torch.tensor([1,2])*torch.tensor([0.5,1])
torch.ones(2,3).sum(dim=1,keepdim=True)
torch.arange(3).type()
torch.ones(2).type()
torch.ones(1,1,3).squeeze()
torch.ones(1,1,3).squeeze(0).shape
torch.arange(10)[2:5]
torch.arange(12).view(3,4)[1,:]
torch.arange(12).view(3,4)[:,-1]
torch.tensor([1,2,3])==torch.tensor([1,0,3])
torch.equal(torch.ones(2),torch.ones(2))
torch.ones(3).tolist()
torch.arange(4).repeat(2)
torch.arange(2).repeat(2,2)
torch.clamp(torch.arange(5),1,3)
torch.tensor([1.5,-2.5]).round()
torch.tensor([0.,1.]).softmax(0)
nn.functional.softmax(torch.tensor([[1.,2.]]),dim=1)
nn.functional.one_hot(torch.tensor([0,2]))
torch.tensor([[1.,2.],[3.,4.]]).norm()
torch.gather(torch.tensor([[1,2],[3,4]]),1,torch.tensor([[0,0],[1,0]]))
torch.zeros(3,5).scatter_(0,torch.tensor([[0,1,2,0,0]]),torch.ones(1,5))
torch.arange(9).view(3,3).diag()
torch.arange(3).unbind()
torch.nonzero(torch.tensor([1,0,2]))
torch.tensor([1,2,2]).unique()
torch.arange(6.).view(2,3).argmax(1)
torch.tensor([1,0]).bool()
torch.tensor(2.5).int()
torch.tensor([1.,2.]).add(1,alpha=2)
torch.arange(6).view(2,-1)
torch.arange(4).reshape(2,2).flatten()
torch.ones(2,2).T
torch.arange(3.).cumsum(0)
torch.tensor(3.)**2
-torch.arange(3)
torch.ones(2).new_zeros(3)
str(torch.tensor(1.5))
f'{torch.tensor(1.5):.2f}'
len(torch.ones(3,2))
torch.ones(2,3).ndim
torch.is_tensor(1)
torch.tensor([[1,2],[3,4]]).sum(1)
torch.addmm(torch.ones(2,2),torch.ones(2,3),torch.ones(3,2))
torch.einsum('ij,jk->ik',torch.ones(2,3),torch.ones(3,2))
torch.bmm(torch.ones(2,1,3),torch.ones(2,3,1)).shape
torch.ones(2,3).mm(torch.ones(2,3))
torch.ones(2,requires_grad=True).backward()
torch.ones(2,requires_grad=True).numpy()
(torch.ones(2,requires_grad=True)*2).backward()
torch.ones(2).requires_grad_().detach().requires_grad
torch.tensor([1,2]).requires_grad_()
nn.functional.cross_entropy(torch.tensor([[1.,2.]]),torch.tensor([1]))
nn.CrossEntropyLoss()(torch.tensor([[1.,2.]]),torch.tensor([1]))
nn.MSELoss()(torch.ones(2),torch.zeros(2))
torch.optim.SGD(nn.Linear(2,2).parameters(),lr=-1)
nn.Linear(3,4)
nn.Linear(3,4,bias=False)
nn.Bilinear(2,3,4)
nn.Identity()
nn.Embedding(10,4)
nn.Embedding(10,4,padding_idx=0)
nn.Flatten()
nn.Unflatten(1,(2,3))
nn.Conv1d(3,6,5)
nn.Conv2d(3,6,3,2,1)
nn.Conv2d(4,4,3,padding='same',groups=2,bias=False,dilation=2)
nn.Conv2d(3,6,3,padding=1,padding_mode='reflect')
nn.Conv3d(1,2,3)
nn.ConvTranspose2d(3,6,3,2,1,1)
nn.ConvTranspose1d(3,6,3)
nn.BatchNorm1d(4)
nn.BatchNorm2d(4,momentum=None,affine=False,track_running_stats=False)
nn.LayerNorm(8)
nn.LayerNorm((4,8),elementwise_affine=False)
nn.GroupNorm(2,4)
nn.InstanceNorm2d(4)
nn.RMSNorm(8)
nn.LocalResponseNorm(2)
nn.MaxPool2d(2,2)
nn.MaxPool1d(3)
nn.MaxPool2d((2,3),stride=(2,1),padding=(1,0))
nn.AvgPool2d(2)
nn.AvgPool1d(2)
nn.AdaptiveAvgPool2d(1)
nn.AdaptiveAvgPool2d((1,2))
nn.AdaptiveMaxPool1d(3)
nn.ReLU()
nn.ReLU(inplace=True)
nn.ReLU6()
nn.LeakyReLU()
nn.LeakyReLU(0.2,True)
nn.PReLU()
nn.ELU()
nn.CELU()
nn.SELU()
nn.GELU()
nn.GELU('tanh')
nn.SiLU()
nn.Mish()
nn.Sigmoid()
nn.Hardsigmoid()
nn.Hardswish()
nn.Hardtanh()
nn.Hardshrink()
nn.Softshrink()
nn.Tanh()
nn.Tanhshrink()
nn.Softplus()
nn.Softsign()
nn.LogSigmoid()
nn.Threshold(0.1,20)
nn.Softmax(dim=1)
nn.Softmax()
nn.LogSoftmax(dim=-1)
nn.GLU()
nn.RReLU()
nn.Dropout()
nn.Dropout(0.2,True)
nn.Dropout2d()
nn.AlphaDropout()
nn.ZeroPad2d(1)
nn.ConstantPad2d(1,3.5)
nn.ReflectionPad2d((1,2,3,4))
nn.ReplicationPad1d(2)
nn.Upsample(scale_factor=2)
nn.Upsample(size=(4,4),mode='bilinear')
nn.PixelShuffle(2)
nn.PixelUnshuffle(2)
nn.ChannelShuffle(2)
nn.Unfold(3)
nn.Fold(4,3)
nn.UpsamplingNearest2d(scale_factor=2)
nn.LSTM(3,4)
nn.LSTM(3,4,2,batch_first=True,bidirectional=True,dropout=0.5)
nn.GRU(3,4,bias=False)
nn.RNN(3,4)
nn.LSTMCell(3,4)
nn.GRUCell(3,4,bias=False)
nn.RNNCell(3,4)
nn.MultiheadAttention(8,2)
nn.CrossEntropyLoss()
nn.MSELoss()
nn.NLLLoss()
nn.L1Loss()
nn.SmoothL1Loss()
nn.HuberLoss()
nn.BCELoss()
nn.BCEWithLogitsLoss()
nn.KLDivLoss()
nn.CosineSimilarity()
nn.PairwiseDistance()
nn.Sequential(nn.Linear(2,3),nn.ReLU())
nn.ModuleList([nn.Linear(2,3),nn.Linear(2,3),nn.ReLU()])
nn.ModuleDict({'a':nn.ReLU()})
nn.DataParallel(nn.Linear(2,3))
nn.Sequential()
nn.ModuleList()
nn.ParameterList([torch.ones(2)])
nn.ParameterDict({'w':torch.ones(2)})
nn.TransformerEncoderLayer(8,2,16)
nn.Module()
torch.device('cpu')
torch.device('cuda:1')
torch.float32
torch.Size([2,3])
torch.zeros(2).dtype
torch.optim.SGD([torch.zeros(1)],lr=0.1)
torch.optim.Adam([torch.zeros(1)])
F.pad(torch.ones(3), (1, 2))
F.pad(torch.arange(4.).view(1, 1, 2, 2), (1, 0, 0, 1), mode="replicate")
F.max_pool2d(torch.arange(16.).view(1, 1, 4, 4), 2)
F.avg_pool2d(torch.arange(16.).view(1, 1, 4, 4), 2, padding=1)
F.interpolate(torch.arange(4.).view(1, 1, 2, 2), scale_factor=2)
F.relu(torch.tensor([-1., 2.]), inplace=True)
F.smooth_l1_loss(torch.ones(2), torch.zeros(2), beta=0.5)
F.cross_entropy(torch.tensor([[1., 2.]]), torch.tensor([[0.25, 0.75]]))
F.nll_loss(torch.tensor([[-1., -2.]]), torch.tensor([1]))
F.normalize(torch.tensor([[3., 4.]]))
nn.CrossEntropyLoss(weight=torch.tensor([1., 3.]))(torch.eye(2), torch.tensor([0, 1]))
torch.arange(5)[torch.arange(5) > 2]
torch.where(torch.tensor([1, 0]) > 0)
torch.max(torch.ones(2), torch.tensor([0., 3.]))
torch.ones(2).to("cpu", torch.float64)
torch.ones(1).dtype == torch.float32, torch.float32 is torch.ones(1).dtype
(torch.ones(1, requires_grad=True) * 2).detach_().requires_grad
torch.autograd.grad(torch.ones(2, requires_grad=True).sum(), torch.ones(1))
[row.shape for row in torch.ones(2, 3)]
torch.linspace(-1, 1, 3).abs().sqrt().exp()
torch.tensor([1., 2.]).div(3, rounding_mode="floor")
torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")
torch.tril(torch.ones(3, 3)), torch.triu(torch.ones(2, 2), 1)
torch.tensor([3, 1, 2]).argsort(descending=True)
torch.cumsum(torch.ones(2, 2), dim=1), torch.flip(torch.arange(3), [0])
torch.ones(2, 3).narrow(1, 1, 2).shape, torch.ones(2, 3).select(1, 0).shape
torch.no_grad()(torch.is_grad_enabled)(), torch.is_grad_enabled()
torch.zeros(2, 3).index_select(1, torch.tensor([0, 2])).shape
torch.tensor([[1., 2.], [3., 4.]]).mean(dim=(0, 1))
torch.tensor([0.1, 0.2], dtype=torch.float64) + torch.tensor([1, 2])
torch.Tensor.add(torch.ones(1), 2)
torch.add(torch.ones(2), torch.ones(2), alpha=3, out=torch.zeros(2))
torch.sum(input=torch.ones(2, 3), dim=1)
torch.finfo(torch.float32).eps, torch.iinfo(torch.int32).max
torch.allclose(torch.ones(2), torch.ones(2) + 1e-9)
torch.cross(torch.tensor([1., 0, 0]), torch.tensor([0., 1, 0]))
torch.diagonal(torch.arange(9).view(3, 3), 1)
torch.tensordot(torch.ones(2, 3), torch.ones(3, 2), dims=1)
torch.cdist(torch.zeros(1, 2), torch.ones(1, 2))
torch.linalg.norm(torch.tensor([3., 4.]))
torch.flip(torch.arange(3), dims=(0,)), torch.roll(torch.arange(4), shifts=1, dims=0)
torch.permute(torch.ones(2, 3), dims=(1, 0)).shape, torch.reshape(torch.arange(4), shape=(2, 2))
torch.pi, torch.inf, torch.nan, torch.e
torch.cuda.is_available(), torch.cuda.device_count(), torch.backends.mps.is_available()
torch.accelerator.is_available()
torch.autograd.functional.jacobian(lambda x: x ** 2, torch.tensor([1., 2.]))
torch.autograd.functional.hessian(lambda x: (x ** 3).sum(), torch.tensor([1., 2.]))
nn.utils.rnn.pad_sequence([torch.ones(3), torch.ones(2)], batch_first=True, padding_value=-1.)
nn.Transformer.generate_square_subsequent_mask(3)
nn.TransformerDecoderLayer(8, 2, 16)
nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
nn.Transformer(8, 2, 1, 1, 16)
torch.optim.RMSprop([torch.zeros(1)])
torch.optim.AdamW([torch.zeros(1)], amsgrad=True)
torch.optim.NAdam([torch.zeros(1)])
torch.optim.RAdam([torch.zeros(1)])
torch.optim.Adamax([torch.zeros(1)])
torch.optim.Rprop([torch.zeros(1)])
torch.optim.Adagrad([torch.zeros(1)])
torch.optim.Adadelta([torch.zeros(1)])
torch.optim.lr_scheduler.OneCycleLR(torch.optim.SGD([torch.zeros(1)], lr=1.0), max_lr=0.1)
torch.Generator().manual_seed(3).initial_seed(), torch.Generator().device
""".strip().split("\n")
"""One on each line."""

DIFFERENT: dict[str, str] = {}
"""Why dyn differs on purpose, by expression."""


def _text(expression: str) -> Any:
    def run(torch: Any) -> str:
        space = {
            "torch": torch, "nn": torch.nn, "F": torch.nn.functional, "nan": math.nan,
            "inf": math.inf,
        }  # fmt: skip
        try:
            return repr(eval(expression, space))
        except Exception as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0]}"

    return run


for _expression in EXPRESSIONS:
    SNIPPETS[_expression] = Snippet(
        _expression, "torch", _text(_expression), DIFFERENT.get(_expression, "")
    )
