// Kroton: symbolic expressions, their gradients, and compiled functions of them. The one header to
// include; docs/guide.md is the introduction.
#pragma once
#include <kroton/aot.h>
#include <kroton/array.h>
#include <kroton/checkpoint.h>
#include <kroton/convolution.h>
#include <kroton/data.h>
#include <kroton/dtype.h>
#include <kroton/error.h>
#include <kroton/external.h>
#include <kroton/function.h>
#include <kroton/grad.h>
#include <kroton/index.h>
#include <kroton/nn.h>
#include <kroton/normalization.h>
#include <kroton/npy.h>
#include <kroton/ops.h>
#include <kroton/optim.h>
#include <kroton/pooling.h>
#include <kroton/print.h>
#include <kroton/profile.h>
#include <kroton/random.h>
#include <kroton/scan.h>
#include <kroton/target.h>
#include <kroton/tensor.h>
#include <kroton/trainer.h>
#include <kroton/variables.h>
