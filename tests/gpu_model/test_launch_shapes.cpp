// Launches at the sizes that are asked for: they fill a large device where the work allows.
#include <doctest/doctest.h>

#include <iomanip>
#include <set>
#include <sstream>

#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/loop/traverse.h"
#include "tests/gpu_model/canonical.h"
#include "tests/tools/golden.h"

using namespace gpu_model;  // NOLINT: tests

namespace {

// As many as an H100 runs at a time at half of its occupancy.
constexpr std::int64_t device_threads = 132 * 1024;
// What a thread does in the time that a further launch takes.
constexpr std::int64_t little_work = 256;

// Functions with kernels that leave much of a device idle, and why that is so.
const std::set<std::string> known = {
    "scatter_add of numbers",  // a thread looks through 256 iterations
    "CIFAR-10 step, Adam",     // 32 channels by 16 runs: 512 blocks of the 528 that fill a device
    // Nine sums a thread, and nine tenths of the threads.
    "conv2d of 96x56x56, 3x3, 96 groups, by the filters",
};

// Sums that a thread has under way at a time, each as good as a thread.
std::int64_t sums_of_thread(const kroton::loop::Kernel& kernel) {
  std::int64_t most = 1;
  kroton::loop::visit_statements(kernel.body, [&](const kroton::loop::Stmt& s) {
    const auto* held = std::get_if<kroton::loop::Allocate>(&s);
    if (held && held->buffer->space == kroton::loop::Space::registers) {
      most = std::max(most, held->buffer->size.constant());
    }
  });
  return most;
}

}  // namespace

TEST_CASE("golden: launch shapes of canonical functions") {
  std::ostringstream text;
  for (const Case& one : cases()) {
    const kroton::Program program = lowered(one);
    const kroton::codegen::CudaProgram cuda = kroton::codegen::emit_cuda(program);
    std::string idle;  // kernels that leave much of the device without work
    for (const Sizes& sizes : one.sizes) {
      text << one.name << ", " << to_string(sizes) << "\n";
      const Evaluator at(sizes);
      std::size_t number = 0;
      kroton::for_each_kernel(program.steps, [&](const kroton::loop::Kernel& kernel) {
        const kroton::codegen::CudaKernel& emitted = cuda.kernels[number++];
        const std::int64_t blocks = at(emitted.blocks), work = at(kernel.work);
        if (blocks == 0) return;
        const std::int64_t threads = blocks * emitted.threads * sums_of_thread(kernel);
        text << std::left << std::setw(44) << "  " + emitted.name.substr(0, 40) << std::right
             << std::setw(9) << blocks << " x" << std::setw(5) << emitted.threads << ", work "
             << work << (kernel.instead ? ", or a library" : "") << "\n";
        // Steps of a scan wait for each other, however few threads they have work for.
        if (kernel.instead || emitted.name.find("_scan_") != std::string::npos) return;
        if (threads < std::min(work / 4, device_threads) && work > threads * little_work) {
          idle += emitted.name + ", " + to_string(sizes) + "; ";
        }
      });
    }
    CHECK_MESSAGE(idle.empty() != known.contains(one.name), one.name, ": ", idle);
  }
  check_golden("launch shapes", text.str(), R"golden(
elementwise, free, n=10000000
  k0_add_relu_mul                               39063 x   64, work 40000000
tanh of 1e7, known
  k0_tanh                                       39063 x   64, work 150000000
exp, f64, n=1000000
  k0_exp_mul                                     7813 x   64, work 14000000
bias, free, m=1024 n=8192
  k0_mul                                        32768 x   64, work 16777216
transpose of 4096x4096, known
  k0_copy                                       16384 x  256, work 16777216
x + transpose(y), free, m=4096 n=4096
  k0_add                                        16384 x  256, work 33554432
concatenate, n=1000000
  k0_mul_concatenate                             7813 x  256, work 6000000
softmax of 1000x1000, known
  k0_max_sub_exp_sum_div_mul                     1000 x  256, work 17004000
softmax of 8x1e6, known
  k0_max_sub_exp_sum_div_mul                     1960 x  256, work 136000032
  k1_max_sub_exp_sum_div_mul                        8 x   32, work 1960
  k2_max_sub_exp_sum_div_mul                    31250 x   64, work 136000032
softmax, free, m=1000 n=1000
  k5_max_sub_exp_sum_div_mul                     1000 x  256, work 17004000
softmax, free, m=1000000 n=8
  k0_max_sub_exp_sum_div_mul                     1960 x  256, work 136000032
  k1_max_sub_exp_sum_div_mul                        8 x  256, work 1960
  k2_max_sub_exp_sum_div_mul                    31250 x   64, work 136000032
softmax, free, m=40 n=1000000
  k3_max_sub_exp_sum_div_mul                    62500 x  128, work 684000000
log_softmax of 8192x128, known
  k0_max_sub_exp_sum_log_sub                     2048 x  128, work 17924096
sum of rows, free, m=1000 n=1000
  k3_sum                                         1000 x  256, work 2000000
sum of rows, free, m=1000000 n=8
  k0_sum                                          528 x  256, work 16000000
  k1_sum                                            8 x  256, work 528
softmax of 1e6x24, known
  k0_max_sub_exp_sum_div_mul                    15625 x  128, work 412000000
softmax of 1e6x32, known
  k0_max_sub_exp_sum_div_mul                    62500 x  128, work 548000000
layer norm of 1e6x48, known
  k0_sum_div_sub_mul_sum_div_add_sqrt_div_      31250 x  128, work 401000000
softmax of 1e6x10, known
  k0_max_sub_exp_sum_div_mul                    15625 x   64, work 174000000
argmax of rows, free, m=1000 n=1000
  k3_argmax                                      1000 x  256, work 3000000
argmax of rows, free, m=1000000 n=8
  k0_argmax                                       528 x  256, work 24000000
  k1_argmax                                         8 x  256, work 528
mean of rows, f64, m=1000 n=1000
  k3_sum_size_div                                1000 x  256, work 2004001
layer norm, n=8192
  k0_sum_div_sub_mul_sum_div_add_sqrt_div_       8192 x  256, work 67248128
layer norm, gradients, n=8192
  k0_mul_sum_div_sub_mul_sum_div_add_sqrt_       8192 x  256, work 117776384
  k1_sub_mul_mul_sum_sum                          512 x  512, work 50331648
  k2_sub_mul_mul_sum_sum                           32 x 1024, work 16384
sum of all, free, n=10000000
  k0_sum                                          528 x  256, work 20000000
  k1_sum                                            1 x  256, work 528
sum of all, free, n=1000
  k2_sum                                            1 x  256, work 2000
argmax of all, free, n=10000000
  k0_argmax                                       528 x  256, work 30000000
  k1_argmax                                         1 x  256, work 528
softmax of all, free, n=10000000
  k0_max_sub_exp_sum                              528 x  256, work 160000000
  k1_max_sub_exp_sum                                1 x  256, work 528
  k2_max_sub_exp_sum                              528 x  256, work 160000000
  k3_max_sub_exp_sum                                1 x  256, work 528
  k5_div_mul                                    39063 x   64, work 20000004
sum of columns of 1e6x8, known
  k0_sum                                          528 x  256, work 16000000
  k1_sum                                            1 x 1024, work 4224
sum of columns, free, m=8 n=1000000
  k0_sum                                          132 x  512, work 16000000
  k1_sum                                            1 x  512, work 4224
sum of columns, free, m=1024 n=8192
  k0_sum                                          512 x  512, work 16777216
  k1_sum                                           32 x  512, work 16384
sum of 512 columns, n=128
  k2_sum                                           16 x 1024, work 131072
sum of 512 columns, n=65536
  k0_sum                                          528 x  512, work 67108864
  k1_sum                                           16 x 1024, work 16896
softmax of columns, free, m=64 n=100000
  k0_max_sub_exp_sum_div_mul                     1568 x  256, work 108800256
  k1_max_sub_exp_sum_div_mul                        2 x  512, work 12544
  k2_max_sub_exp_sum_div_mul                    25000 x   64, work 108800256
sum of channels, n=32
  k0_sum                                          512 x  256, work 12845056
  k1_sum                                            2 x 1024, work 512
softmax of columns of 4096x4096, known
  k0_max_sub_exp_sum_div_mul                      512 x 1024, work 285229056
argmax of columns of 4096x4096, known
  k0_argmax                                       512 x  512, work 50331648
  k1_argmax                                        64 x   64, work 16384
mean, variance and extremes of columns, known
  k0_sum_div_sub_mul_sum_div_max_min              512 x 1024, work 117473280
log_softmax over 64 channels, n=32
  k0_max_sub_exp_sum_log_sub                     3136 x  128, work 110387200
batch norm, n=8192
  k0_sum_size_div_sub_size_lt_mul_sum_div_       2048 x  256, work 41961475
  k1_sum_size_div_sub_size_lt_mul_sum_div_         32 x  512, work 16384
  k4_sub_mul_mul_add                            32768 x   64, work 33555456
batch norm, gradients, n=8192
  k0_size_lt_sum_size_div_sub_mul_sum_div_       2048 x  256, work 109100036
  k1_size_lt_sum_size_div_sub_mul_sum_div_         32 x  512, work 16384
  k2_size_lt_sum_size_div_sub_mul_sum_div_      32768 x  256, work 109100036
batch norm of pictures, with gradients, n=32
  k0_sum_size_div_sub_size_lt_mul_sum_div_       1600 x  256, work 83495876
  k1_sum_size_div_sub_size_lt_mul_sum_div_          2 x  512, work 1600
  k2_sum_size_div_sub_size_lt_mul_sum_div_      25088 x  256, work 83495876
  k4_sub_mul_add                                25088 x   64, work 25690112
mean cross entropy of 8192x1000, known
  k0_max_sub_exp_sum_log_pick_sub                8192 x  256, work 131252224
  k1_sum_div                                        1 x  512, work 16388
relu of dot 4096x4096x4096, known
  k0_dot_relu                                    1024 x  256, work 137472507904
relu of dot 64x16384x64, known
  k0_dot_relu                                     128 x  256, work 134225920
  k1_dot_relu                                     128 x 1024, work 524288
relu of dot 128x784x512, known
  k0_dot_relu                                     112 x  256, work 102891520
  k1_dot_relu                                    1024 x   64, work 458752
relu of dot 1024x1024x1024, f64, known
  k0_dot_relu                                     256 x  256, work 2149580800
relu of dot 4096x512x10, known
  k0_dot_relu                                     256 x  256, work 42024960
  k1_dot_relu                                     640 x   64, work 163840
relu of dot + bias, free, k=4096 m=4096 n=4096
  k3_dot_add_relu                                1024 x  256, work 137489285120
relu of dot + bias, free, k=16384 m=64 n=64
  k0_dot_add_relu                                 128 x  256, work 134230016
  k1_dot_add_relu                                 128 x  512, work 524288
relu of dot + bias, free, k=1000 m=1000 n=1000
  k2_dot_add_relu                                 256 x  256, work 2003000000
relu of dot + bias, free, with the library, k=4096 m=4096 n=4096
  k0_dot_add_relu                                1024 x  256, work 137438953472, or a library
  k1_dot_add_relu                               65536 x   64, work 67108864
relu of dot + bias, free, with the library, k=16384 m=64 n=64
  k2_dot_add_relu                                 128 x  256, work 134230016
  k3_dot_add_relu                                 128 x  512, work 524288
relu of dot + bias, free, with the library, k=1000 m=1000 n=1000
  k0_dot_add_relu                                  64 x  256, work 2000000000, or a library
  k1_dot_add_relu                                3907 x   64, work 4000000
relu of dot of transposed, free, k=1000 m=1000 n=1000
  k2_dot_relu                                     256 x  256, work 2002000000
exp of matmul of a batch, b=96
  k0_dot_exp                                      384 x  256, work 221773824
dot of matrix and vector, known
  k0_mul_sum                                     4096 x  256, work 50331648
conv2d of 64x56x56, 3x3, n=32
  k2_unslice_convolution                          784 x  256, work 7411597312
conv2d, gradient of the image, n=32
  k2_unslice_unslice_convolution                  784 x  256, work 7418019840
conv2d, gradient of the filters, n=32
  k0_unslice                                    26912 x   64, work 13778944
  k1_convolution                                  522 x  128, work 7398789120
  k2_convolution                                 4096 x  256, work 2138112
  k4_copy                                         144 x  256, work 36864
gather, free, columns=256 n=100000 rows=50000
  k0_take                                      100000 x  256, work 51200000
scatter_add, free, columns=256 n=100000 rows=50000
  k0_scatter_add                                50000 x   64, work 12800000
  k2_scatter_add                                  391 x  256, work 100000
  k3_scatter_add                                   25 x  256, work 3200000
  k4_scatter_add                                   49 x  256, work 6400000
  k5_scatter_add                                   49 x  256, work 6400000
  k8_scatter_add                                12504 x  256, work 460800000
  k9_mul                                        50000 x   64, work 25600000
scatter_add of numbers, n=100000
  k0_scatter_add                                    4 x  256, work 1000
  k2_scatter_add                                  391 x  256, work 100000
  k3_scatter_add                                  391 x  128, work 51200000
  k4_scatter_add                                  125 x  256, work 782000
cumsum down rows, n=10000
  k2_cumsum                                       632 x  256, work 30720000
MLP step 784-512-10, batch=128
  k0_dot_add_relu                                 112 x  256, work 102957056
  k1_dot_add_relu                                2048 x  512, work 458752
  k4_dot                                            2 x  256, work 1312000, or a library
  k5_add_max_sub_exp_sum_log_pick_sub_size          2 x   64, work 30213
  k7_sum_size_div                                   1 x  256, work 261
  k8_lt_dot_where                                  16 x  256, work 1507328
  k10_dot_mul_sub                                 104 x  256, work 103964672, or a library
  k12_sum_mul_sub                                  16 x 1024, work 132096
  k13_dot_mul_sub                                   8 x  256, work 1326080, or a library
  k16_sum_mul_sub                                   1 x 1024, work 2580
  k17_copy                                       1568 x   64, work 401408
  k18_copy_sum_size_div                            20 x  256, work 5120
LSTM step, 256 units, batch=64 steps=100
  k0_copy                                          64 x   64, work 16384
  k1_dot                                         1600 x  256, work 3361996800, or a library
  k2_copy_copy                                    128 x   64, work 32768
  k4_scan_dot_add_add_sigmoid_sigmoid_mul_        128 x  128, work 3488153600
  k6_dot                                           16 x  256, work 33619968, or a library
  k7_add_add_sigmoid_sigmoid_mul_sigmoid_t         64 x  256, work 1261568
  k8_mul_sum_size_div                             400 x  256, work 4915205
  k10_size_div_mul_add                           6400 x   64, work 4915205
  k11_copy_mul_sum_size_div                       257 x  256, work 262544
  k12_copy_copy                                   128 x   64, work 32768
  k14_scan_add_mul_mul_sub_mul_add_mul_mul        128 x  128, work 3540582400
  k16_add_mul_mul_sub_mul_add_mul                  64 x   64, work 131072
  k17_mul_sub_mul_mul_mul_sub_mul_mul_mul_        256 x  256, work 1179648
  k18_dot                                           4 x  256, work 33570816, or a library
  k19_dot_mul_sub                                  64 x  256, work 3356229632, or a library
  k20_dot_mul_sub                                  64 x  256, work 3356229632, or a library
  k21_sum_mul_sub                                 512 x  512, work 13109248
  k22_sum_mul_sub                                  32 x 1024, work 16384
LSTM step, 64 units, batch=1 steps=100
  k0_copy                                           1 x   64, work 64
  k1_dot                                            8 x  256, work 3302400, or a library
  k2_copy_copy                                      2 x   64, work 128
  k3_scan_dot_dot_add_add_sigmoid_sigmoid_          1 x  512, work 3795200
  k6_dot                                            4 x  256, work 33024, or a library
  k7_add_add_sigmoid_sigmoid_mul_sigmoid_t          1 x  256, work 4928
  k9_mul_sum_size_div                               1 x  256, work 19205
  k10_size_div_mul_add                             25 x   64, work 19205
  k11_copy_mul_sum_size_div                        16 x  256, work 16384
  k12_copy_copy                                     2 x   64, work 128
  k13_scan_add_mul_mul_sub_mul_add_mul_mul          1 x  512, work 3795200
  k16_add_mul_mul_sub_mul_add_mul                   1 x   64, work 512
  k17_mul_sub_mul_mul_mul_sub_mul_mul_mul_          1 x  256, work 4608
  k18_dot                                           1 x  256, work 32832, or a library
  k19_dot_mul_sub                                   4 x  256, work 3325952, or a library
  k20_dot_mul_sub                                   4 x  256, work 3325952, or a library
  k23_sum_mul_sub                                   8 x 1024, work 51712
running sum by scan, n=10000
  k2_linear_recurrence                              5 x  256, work 180000
gradient of a running sum by scan, n=10000
  k2_linear_recurrence                              5 x  256, work 180000
  k3_add                                           40 x   64, work 20000
  k6_mul_linear_recurrence                          5 x  256, work 180000
  k7_concatenate_add                               40 x   64, work 30000
1000 steps of oscillators, n=4096
  k0_copy_copy                                     32 x   64, work 8192
  k1_scan_sin_neg_mul_sub_mul_add_mul_add_         64 x   64, work 389120000
  k2_copy_copy                                     32 x   64, work 8192
Kalman filter of 4 numbers, n=1000
  k0_copy_copy_copy                                 3 x  256, work 36
  k1_scan_mul_sum_mul_dot_dot_add_mul_sum_          1 x   32, work 494000
  k2_copy                                          16 x   64, work 4000
relu of dot 4096x4096x4096, bf16, known
  k0_cast_cast_dot_cast_cast_relu_cast           1024 x  256, work 137556393984
relu of dot 4096x4096x4096, bf16, with the library, known
  k0_cast_cast_dot_cast_cast_relu_cast           1024 x  256, work 137438953472, or a library
  k1_cast_cast_dot_cast_cast_relu_cast          32768 x   64, work 134217728
relu of dot 8x4096x4096, f16, known
  k0_cast_cast_dot_cast_cast_relu_cast            256 x  128, work 268664832
  k1_cast_cast_dot_cast_cast_relu_cast            512 x   64, work 262144
relu of dot 4096x4096x4096, TF32, known
  k0_dot_relu                                    1024 x  256, work 137472507904
relu of dot bf16, free, k=4096 m=4096 n=4096
  k3_cast_cast_dot_cast_cast_relu_cast           1024 x  256, work 137556393984
relu of dot bf16, free, k=16384 m=64 n=64
  k0_cast_cast_dot_cast_cast_relu_cast            128 x  128, work 134246400
  k1_cast_cast_dot_cast_cast_relu_cast            128 x  512, work 524288
relu of dot bf16, free, k=1000 m=1000 n=1000
  k2_cast_cast_dot_cast_cast_relu_cast            256 x  128, work 2007000000
relu of dot of transposed + bias, bf16, k=4096
  k0_cast_cast_dot_cast_cast_cast_add_cast        256 x  128, work 8601468928
conv2d of 256x56x56, 1x1, n=32
  k0_convolution                                  784 x  256, work 3294756864
conv2d of 3x224x224, 7x7, stride 2, n=32
  k0_unslice_convolution                         3136 x  256, work 7604273152
conv2d of 128x56x56, 3x3, stride 2, n=32
  k2_unslice_convolution                          392 x  256, work 7405174784
conv2d of 128x56x56, 3x3, stride 2, by the image, n=32
  k0_convolution                                  392 x  256, work 825294848
  k1_unslice_convolution                          406 x  256, work 1709539328
  k2_unslice_convolution                          406 x  256, work 1709539328
  k5_unslice_unslice_convolution                  422 x  256, work 3537743872
  k6_unslice_unslice_add_unslice_add_unsli      50176 x  256, work 102760448
conv2d of 128x56x56, 3x3, stride 2, by the filters, n=32
  k0_unslice                                    51984 x   64, work 26615808
  k1_convolution                                  252 x  256, work 7398899712
  k2_convolution                                16384 x  256, work 2064384
  k4_copy                                         576 x  256, work 147456
conv2d of 64x56x56, 3x3, dilation 2, n=32
  k2_unslice_convolution                          784 x  256, work 7411597312
conv2d of 128x28x28, 3x3, 4 groups, n=32
  k2_unslice_convolution                          784 x  128, work 1856110592
  k3_copy                                       12544 x   64, work 3211264
conv2d of 96x56x56, 3x3, 96 groups, n=32
  k0_unslice_mul_mul_add_mul_add_mul_add_m       9408 x  256, work 183042048
conv2d of 96x56x56, 3x3, 96 groups, by the image, n=32
  k0_unslice_unslice_mul_mul_add_mul_add_m       9408 x  256, work 192675840
conv2d of 96x56x56, 3x3, 96 groups, by the filters, n=32
  k0_unslice_mul_sum_mul_sum_mul_sum_mul_s        480 x  256, work 192675840
  k1_unslice_mul_sum_mul_sum_mul_sum_mul_s         96 x  256, work 480
  k3_concatenate                                    4 x  256, work 1728
  k4_copy                                           4 x  256, work 864
conv2d of 64 channels, 3x3, free, h=56 n=32 w=56
  k2_unslice_convolution                          784 x  256, work 7411597312
conv2d of 64 channels, 3x3, free, by the image, h=56 n=32 w=56
  k2_unslice_unslice_convolution                  784 x  256, work 7418019840
conv2d of 64 channels, 3x3, free, by the filters, h=56 n=32 w=56
  k0_unslice                                    26912 x   64, work 13778944
  k1_convolution                                  594 x  128, work 7398789120
  k2_convolution                                 4096 x  256, work 2433024
  k4_copy                                         144 x  256, work 36864
conv1d of 64x4096, 5, n=32
  k2_unslice_convolution                         1024 x  256, work 5385486336
conv3d of 32x16x28x28, 3x3x3, n=32
  k2_unslice_convolution                         3136 x  128, work 22221946880
attention of 8x12x1024x64, f16, known
  k0_cast_cast_dot_cast_cast_mul_cast_cast       1536 x  128, work 25977421824
attention of 8x12x1024x64, f32, known
  k0_dot_mul_max_sub_exp_sum_div_mul_dot         1536 x  128, work 25914507264
causal attention of 8x12x1024x64, bf16, known
  k0_iota_iota_le_cast_cast_dot_cast_cast_       1536 x  128, work 26002587648
attention of heads of 128, f16, free, b=4 h=16 n=2048
  k0_cast_cast_dot_cast_cast_mul_cast_cast       2048 x  128, work 137992601600
attention of heads of 128, f16, free, b=1 h=32 n=8192
  k0_cast_cast_dot_cast_cast_mul_cast_cast       4096 x  128, work 1100618924032
causal attention of heads of 64, f32, free, b=4 h=16 n=1000
  k0_iota_iota_le_dot_mul_where_max_sub_ex       1024 x  128, work 16494592000
attention of 8x12x1024x64, f16, gradients, known
  k0_cast_cast_dot_cast_cast_mul_cast_cast       1536 x  128, work 25996296192
  k1_cast_sum                                    6144 x  128, work 12582912
  k2_cast_cast_dot_cast_cast_mul_cast_cast       1536 x  128, work 51816431616
  k3_cast_cast_dot_cast_cast_mul_cast_cast       1536 x  128, work 38918946816
cumsum of 1e6, known
  k0_cumsum                                       489 x  256, work 12000000
cumsum of rows, free, m=100000 n=64
  k2_cumsum                                      3136 x  256, work 76800000
linear recurrence of 100000x16, known
  k0_linear_recurrence                            782 x  256, work 28800000
update of an embedding, known
  k0_checked_index                                256 x  256, work 131072
  k1_mul_add_at                                   256 x  256, work 65536
  k2_mul_add_at                                    16 x  256, work 1310720
  k3_mul_add_at                                    32 x  256, work 4194304
  k4_mul_add_at                                    32 x  256, work 4194304
  k5_mul_add_at                                  2048 x  256, work 75497472
argsort of 1e6, known
  k0_argsort                                      245 x  256, work 32000000
  k1_argsort                                      489 x  256, work 64000000
  k2_argsort                                      489 x  256, work 64000000
  k2_argsort                                      489 x  256, work 64000000
  k4_argsort                                      489 x  256, work 64000000
sort of 1000x1000, known
  k0_sort                                        1000 x  256, work 196608000
sort of 10000x100, known
  k0_sort                                       10000 x   32, work 245760000
sort of 100000x16, known
  k0_sort                                        6250 x  256, work 136000000
first 5 of 64x50000, known
  k0_argtopk                                     1600 x  256, work 629145600
  k1_argtopk                                       64 x   32, work 1572864
argsort of rows, free, m=8 n=100000
  k0_argsort                                     3125 x  256, work 36000000
argsort of rows, free, m=1000 n=1000
  k1_argsort                                     1000 x  256, work 393216000
attention step of 8x12x1024x64, f16, known
  k0_cast_cast_dot_cast_cast_mul_cast_cast       1536 x  128, work 26021462016
  k1_cast_sum                                    6144 x  128, work 12582912
  k2_cast_cast_dot_cast_cast_mul_cast_cast       1536 x  128, work 51816431616
  k3_cast_cast_dot_cast_cast_mul_cast_cast       1536 x  128, work 38918946816
attention step of 8x12x1024x64, f32, known
  k0_dot_mul_max_sub_exp_sum_div_mul_dot_m       1536 x  128, work 25927090176
  k1_sum                                        12288 x  128, work 12582912
  k2_dot_mul_sub_exp_mul_dot_sub_mul_mul_d       1536 x  128, work 38786826240
  k3_dot_mul_sub_exp_mul_dot_sub_mul_mul_d       1536 x  128, work 51678019584
attention step of heads of 128, bf16, known
  k0_cast_cast_dot_cast_cast_mul_cast_cast       1024 x  128, work 69055021056
  k1_cast_sum                                    8192 x  128, work 16777216
  k2_cast_cast_dot_cast_cast_mul_cast_cast       2048 x   64, work 137808052224
  k3_cast_cast_dot_cast_cast_mul_cast_cast       2048 x   64, work 103431536640
attention of 12 heads that share 4 keys, f16, known
  k0_cast_cast_dot_cast_cast_mul_cast_cast       1536 x  128, work 25977421824
CIFAR-10 step, Adam, batch=128
  k0_unslice                                     1734 x   64, work 887808
  k1_convolution                                 1024 x  128, work 230686720
  k2_add_relu_sum_size_div_sub_size_lt_mul       1024 x  256, work 29360739
  k3_add_relu_sum_size_div_sub_size_lt_mul          1 x  512, work 1024
  k5_add_relu_sub_mul_add_unslice               18496 x  256, work 30441472
  k8_convolution                                  256 x  256, work 1210056704
  k9_add_relu_sum_size_div_sub_size_lt_mul        512 x  256, work 14681283
  k10_add_relu_sum_size_div_sub_size_lt_mu          2 x 1024, work 512
  k11_add_relu_sum_size_div_sub_size_lt_mu        512 x  256, work 14681283
  k12_add_relu_sum_size_div_sub_size_lt_mu          2 x 1024, work 512
  k16_mul_add_maximum                            4096 x  256, work 6291456
  k17_maximum                                    2048 x   64, work 1048576
  k18_dot                                           2 x  256, work 10487040, or a library
  k19_add_max_sub_exp_sum                           2 x   64, work 21760
  k22_add_sub_log_le_iota_check_pick_sub_s          1 x  256, work 4741
  k23_size_div_mul_one_hot_sub_div_mul              5 x  256, work 6917
  k24_dot                                         128 x  256, work 11010048, or a library
  k25_add_cast_mul_expm1_div_mul_expm1_neg          1 x   32, work 46
  k26_mul_add_le_ne_logical_or_le_ne_logic        512 x  256, work 46139841
  k27_mul_add_le_ne_logical_or_le_ne_logic          2 x 1024, work 512
  k30_add_relu_size_size_lt_lt_mul_mul_mul        512 x  256, work 23071621
  k34_neg_mul_dot_mul_add_mul_mul_mul_add_         64 x  256, work 11345920
  k35_unslice_unslice_convolution                 289 x  128, work 155070464
  k36_unslice_unslice_convolution                 289 x  128, work 306589696
  k37_unslice_unslice_convolution                 289 x  128, work 306589696
  k38_unslice_unslice_convolution                 289 x  128, work 609628160
  k39_unslice_unslice_add_unslice_add_unsl      16384 x  256, work 33554432
  k40_add_relu_size_sub_size_lt_lt_mul_mul        512 x  256, work 62917285
  k41_add_relu_size_sub_size_lt_lt_mul_mul          1 x 1024, work 512
  k42_add_relu_size_sub_size_lt_lt_mul_mul        512 x  256, work 62917285
  k44_convolution                                 512 x  128, work 226493280
  k45_convolution                                  96 x 1024, work 442368
  k48_neg_mul_sum_mul_add_mul_mul_mul_add_          3 x 1024, work 1024
  k49_neg_mul_sum_mul_add_mul_mul_mul_add_          1 x 1024, work 2751
  k50_convolution                                 515 x  128, work 1207977984
  k51_convolution                                2048 x  256, work 1898496
  k53_copy_copy_copy_copy_copy_neg_mul_mul         81 x  256, work 427138
transformer step, bf16, Adam, batch=8 length=256
  k0_sum_div_sub_mul_sum_div_add_rsqrt_mul        512 x  128, work 9465856
  k1_cast_cast                                   5120 x   64, work 3670016
  k2_cast_cast_dot_cast                           768 x  128, work 3233808384, or a library
  k3_cast_add_cast_cast_add_cast_cast_add_       6144 x   64, work 12582912
  k4_cast_cast_dot_cast_cast_mul_cast_cast        256 x  128, work 1107296256
  k5_cast_cast                                   3072 x   64, work 2621440
  k6_cast_cast_dot_cast                           256 x  128, work 1077936128, or a library
  k7_cast_add_add_sum_div_sub_mul_sum_div_        512 x  128, work 12611584
  k8_cast_cast_dot_cast                          1024 x  128, work 4311744512, or a library
  k9_cast_cast_add_mul_mul_erf_add_mul_cas      10240 x   64, work 102760448
  k10_cast_cast_dot_cast                          256 x  128, work 4299161600, or a library
  k11_add_cast_mul_expm1_div_mul_expm1_neg          1 x   32, work 46
  k12_cast_add_add_sub_size_div_mul_add_ca        256 x  512, work 9446918
  k14_cast_cast_neg_mul_dot_cast_cast_mul_        256 x  128, work 4321181696
  k15_cast_cast_dot_cast                         1024 x  128, work 4311744512, or a library
  k16_cast_add_mul_mul_erf_add_cast_mul_mu        512 x  512, work 192976897
  k18_cast_cast_neg_mul_dot_cast_cast_mul_        256 x  128, work 4321181696
  k19_cast_cast_dot_cast                          256 x  128, work 4299161600, or a library
  k20_sub_cast_mul_mul_mul_sum_mul_mul_mul        512 x  128, work 14716928
  k21_cast_cast_neg_mul_dot_cast_cast_mul_        256 x  128, work 1080295424
  k23_cast_cast_dot_cast                          256 x  128, work 1077936128, or a library
  k24_mul_sum_size_div                            256 x  256, work 3145733
  k26_add_neg_mul_sum_mul_add_mul_mul_mul_        256 x  512, work 3155457
  k28_cast_sum                                   1024 x  128, work 2097152
  k29_cast_cast_dot_cast_cast_mul_cast_cas        256 x  128, work 2191523840
  k30_cast_cast_dot_cast_cast_mul_cast_cas        256 x  128, work 1653604352
  k31_cast                                       2048 x   64, work 2097152
  k32_cast                                       1024 x  256, work 2097152
  k33_cast                                       2048 x   64, work 2097152
  k34_cast_cast_cast_concatenate_cast_neg_        528 x  512, work 22049281
  k36_cast_mul_cast_dot_cast_cast_mul_add_        192 x  128, work 3240886272
  k37_cast_cast_dot_cast                          256 x  128, work 3225419776, or a library
  k38_sub_mul_sub_mul_cast_neg_mul_mul_cas        256 x  512, work 13650945
  k39_sub_mul_sub_mul_cast_neg_mul_mul_cas        160 x 1024, work 57856
  k41_copy_copy_mul_sum_size_div_cast_cast       8203 x  256, work 1051392
)golden");
}
