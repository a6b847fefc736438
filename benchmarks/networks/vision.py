"""Networks for images: residual, dense, mobile, encoder and decoder, transformers of patches."""

import itertools

from benchmarks.networks.library import F, nn, torch
from benchmarks.networks.work import inference, labels, training, work


def conv_norm(inner, outer, window=3, stride=1, groups=1, activation=nn.ReLU):
    layers = [
        nn.Conv2d(inner, outer, window, stride, window // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outer),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def classify(network, images, classes=10):
    target = labels(classes, len(images))
    return training(network, lambda: F.cross_entropy(network(images), target))


class Residual(nn.Module):
    def __init__(self, inner, outer, stride=1):
        super().__init__()
        self.body = nn.Sequential(
            conv_norm(inner, outer, 3, stride), conv_norm(outer, outer, activation=None)
        )
        same = stride == 1 and inner == outer
        self.shortcut = nn.Identity() if same else conv_norm(inner, outer, 1, stride, 1, None)

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


@work
def resnet_cifar():
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    body = [conv_norm(3, 16), Residual(16, 16), Residual(16, 32, 2), Residual(32, 64, 2)]
    return classify(nn.Sequential(*body, head), torch.randn(64, 3, 32, 32))


@work
def resnet_inference():
    blocks = [Residual(64, 64), Residual(64, 128, 2), Residual(128, 256, 2)]
    network = nn.Sequential(conv_norm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1), *blocks)
    return inference(network, torch.randn(2, 3, 160, 160))


class Dense(nn.Module):
    def __init__(self, width=16, growth=12, depth=6):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 1, 1)
        self.layers = nn.ModuleList()
        for _ in range(depth):
            conv = nn.Conv2d(width, growth, 3, 1, 1, bias=False)
            self.layers.append(nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), conv))
            width += growth
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(x.mean((2, 3)))


@work
def densenet():
    return classify(Dense(), torch.randn(16, 3, 32, 32))


class Inverted(nn.Module):
    def __init__(self, inner, outer, stride, expansion=4):
        super().__init__()
        wide = inner * expansion
        self.same = stride == 1 and inner == outer
        self.body = nn.Sequential(
            conv_norm(inner, wide, 1, activation=nn.ReLU6),
            conv_norm(wide, wide, 3, stride, wide, nn.ReLU6),
            conv_norm(wide, outer, 1, activation=None),
        )

    def forward(self, x):
        return x + self.body(x) if self.same else self.body(x)


def mobile():
    layers, inner = [conv_norm(3, 16, 3, 2, activation=nn.ReLU6)], 16
    for outer, repeats, stride in ((16, 1, 1), (24, 2, 2), (32, 2, 2), (64, 2, 2)):
        for i in range(repeats):
            layers.append(Inverted(inner, outer, stride if i == 0 else 1))
            inner = outer
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inner, 10))


@work
def mobilenet():
    return classify(mobile(), torch.randn(16, 3, 96, 96))


@work
def mobilenet_inference():
    return inference(mobile(), torch.randn(1, 3, 224, 224))


class Excited(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.deep = conv_norm(width, width, 5, 1, width, nn.SiLU)
        self.squeeze, self.excite = nn.Conv2d(width, 8, 1), nn.Conv2d(8, width, 1)
        self.out, self.head = nn.Conv2d(width, width, 1), nn.Linear(width, 10)

    def forward(self, x):
        x = F.silu(self.stem(x))
        y = self.deep(x)
        y = y * torch.sigmoid(self.excite(F.silu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return self.head((x + self.out(y)).mean((2, 3)))


@work
def squeeze_excite():
    return classify(Excited(), torch.randn(16, 3, 64, 64))


class Shuffled(nn.Module):
    def __init__(self, width=48, groups=4):
        super().__init__()
        self.groups, self.stem = groups, nn.Conv2d(3, width, 3, 2, 1)
        self.first = nn.Conv2d(width, width, 1, groups=groups)
        self.deep = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.last = nn.Conv2d(width, width, 1, groups=groups)
        self.norm, self.head = nn.BatchNorm2d(width), nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x)
        for _ in range(3):
            y = F.relu(self.first(x))
            n, c, h, w = y.shape
            y = y.view(n, self.groups, c // self.groups, h, w).transpose(1, 2)
            y = self.deep(y.contiguous().view(n, c, h, w))
            x = x + F.relu(self.norm(self.last(y)))
        return self.head(x.mean((2, 3)))


@work
def shufflenet():
    return classify(Shuffled(), torch.randn(16, 3, 64, 64))


class UNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        wide = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(
            nn.Sequential(conv_norm(a, b), conv_norm(b, b))
            for a, b in zip([3, *wide], wide, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in itertools.pairwise(wide))
        self.join = nn.ModuleList(
            nn.Sequential(conv_norm(2 * a, a), conv_norm(a, a)) for a in wide[:-1]
        )
        self.out = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        seen = []
        for i, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2) if i else x)
            seen.append(x)
        for i in (1, 0):
            x = self.join[i](torch.cat([self.up[i](x), seen[i]], 1))
        return self.out(x)


@work
def unet():
    network, images, target = UNet(), torch.randn(4, 3, 96, 96), labels(2, 4, 96, 96)
    return training(network, lambda: F.cross_entropy(network(images), target))


@work
def segmentation():
    network = nn.Sequential(
        conv_norm(3, 32), conv_norm(32, 32, stride=2), conv_norm(32, 64),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), nn.Conv2d(64, 12, 1),
    )  # fmt: skip
    images, target = torch.randn(4, 3, 64, 64), labels(12, 4, 64, 64)
    return training(network, lambda: F.cross_entropy(network(images), target))


@work
def diffusion_block():
    def block(inner, outer):
        return [nn.Conv2d(inner, outer, 3, padding=1), nn.GroupNorm(8, outer), nn.SiLU()]

    network = nn.Sequential(
        *block(3, 32), *block(32, 32), nn.Upsample(scale_factor=2), nn.Conv2d(32, 3, 3, padding=1)
    )
    images, target = torch.randn(8, 3, 32, 32), torch.randn(8, 3, 64, 64)
    return training(network, lambda: F.l1_loss(network(images), target))


class Variational(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(),
            nn.Flatten(),
        )  # fmt: skip
        self.mean, self.spread = nn.Linear(64 * 49, width), nn.Linear(64 * 49, width)
        self.widen = nn.Linear(width, 64 * 49)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1)
        )

    def loss(self, x):
        y = self.encoder(x)
        mean, spread = self.mean(y), self.spread(y)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * spread)
        image = self.decoder(self.widen(z).reshape(-1, 64, 7, 7))
        apart = -0.5 * torch.sum(1 + spread - mean**2 - torch.exp(spread))
        return F.binary_cross_entropy_with_logits(image, x, reduction="sum") + apart


@work
def variational_autoencoder():
    network, images = Variational(), torch.rand(64, 1, 28, 28)
    return training(network, lambda: network.loss(images))


@work
def generator():
    layers, inner = [nn.ConvTranspose2d(64, 128, 4, 1, 0, bias=False)], 128
    for outer in (64, 32):
        layers += [nn.BatchNorm2d(inner), nn.ReLU()]
        layers.append(nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False))
        inner = outer
    layers += [nn.BatchNorm2d(32), nn.ReLU(), nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh()]
    network, noise = nn.Sequential(*layers), torch.randn(32, 64, 1, 1)
    return training(network, lambda: (network(noise) ** 2).mean())


@work
def volumes():
    network = nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2),
        nn.Flatten(), nn.Linear(16 * 64, 10),
    )  # fmt: skip
    return classify(network, torch.randn(8, 1, 16, 16, 16))


class Patches(nn.Module):
    def __init__(self, width=96, depth=4, heads=4, patch=8, size=64):
        super().__init__()
        self.cut = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.place = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        x = self.cut(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.norm(self.encoder(x))[:, 0])


@work
def vision_transformer():
    return classify(Patches(), torch.randn(16, 3, 64, 64))


@work
def vision_transformer_inference():
    return inference(Patches(), torch.randn(1, 3, 64, 64))
