// What NVIDIA's compiler makes of the canonical kernels. The tables are golden: a change of theirs
// is looked at before it is agreed to.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <iomanip>
#include <map>
#include <set>
#include <sstream>

#include "tests/gpu_model/canonical.h"
#include "tests/gpu_model/sass.h"
#include "tests/tools/golden.h"
#include "tests/tools/left_out.h"

using namespace gpu_model;  // NOLINT: tests

namespace {

constexpr const char* head =
    "kernel                                 regs warps  load store  lds in-flight shared  loop\n";

std::string line_of(const Code& code) {
  std::ostringstream line;
  line << std::left << std::setw(38) << "  " + code.name.substr(0, 34) << std::right << std::setw(5)
       << code.registers << std::setw(6) << code.warps << std::setw(6) << code.load_bytes
       << std::setw(6) << code.store_bytes << std::setw(5) << code.shared_load_bytes
       << std::setw(10) << code.loads_in_flight << std::setw(7) << code.shared_bytes << std::setw(6)
       << code.loop_instructions;
  if (code.unit_products > 0) line << "  HMMA " << code.unit_products;
  if (code.unit_loads > 0) line << ", LDSM " << code.unit_loads;
  if (code.copies > 0) line << ", LDGSTS " << code.copies;
  if (code.calls_in_loops > 0) line << "  calls in loops: " << code.calls_in_loops;
  if (code.spills > 0 || code.stack_bytes > 0) {
    line << "  spills: " << code.spills << ", stack " << code.stack_bytes;
  }
  return line.str() + "\n";
}

constexpr int most_stack = 32;  // bytes, of what is kept from before a loop to behind it

// What the code of a case has besides, on which devices, and why.
enum class Besides : std::uint8_t { calls_in_loops, sums_in_memory };
struct Exception {
  Besides what;
  std::set<int> capabilities = {80, 90, 100};
};
const std::map<std::string, Exception>& exceptions() {
  using enum Besides;
  static const std::map<std::string, Exception> list = {
      {"1000 steps of oscillators", {calls_in_loops}},  // sines, of large angles too
      // Divisions, of sigmoids and of gains.
      {"LSTM step, 256 units", {calls_in_loops}},
      {"LSTM step, 64 units", {calls_in_loops}},
      {"Kalman filter of 4 numbers", {calls_in_loops}},
      // 32 sums of a block of 512 products, 32 of all blocks before it, and places of slices fill
      // 128 registers. What of the second is in memory is looked at once for a block.
      {"conv2d of 64x56x56, 3x3", {sums_in_memory, {80}}},
      {"conv2d, gradient of the filters", {sums_in_memory}},
      {"conv2d of 128x56x56, 3x3, stride 2, by the image", {sums_in_memory, {100}}},
      {"conv2d of 64x56x56, 3x3, dilation 2", {sums_in_memory, {80}}},
      {"conv2d of 128x28x28, 3x3, 4 groups", {sums_in_memory, {100}}},
      {"conv2d of 64 channels, 3x3, free", {sums_in_memory}},
      {"conv2d of 64 channels, 3x3, free, by the image", {sums_in_memory}},
      {"conv2d of 64 channels, 3x3, free, by the filters", {sums_in_memory, {80, 90}}},
      {"conv3d of 32x16x28x28, 3x3x3", {sums_in_memory}},
  };
  return list;
}

// A table of all cases, a kernel a line; of training steps those that run all steps of a scan.
// Nothing is spilled in a loop, and no loop calls a subroutine, but for what is named.
std::string table(int capability) {
  std::vector<kroton::codegen::CudaProgram> programs;
  std::vector<std::string> names;
  std::vector<bool> are_steps;
  for (const Case& one : cases()) {
    are_steps.push_back(one.is_step);
    programs.push_back(kroton::codegen::emit_cuda(lowered(one)));
    names.push_back(one.name);
  }
  const std::vector<Code> codes = compiled(programs, capability);
  std::string text = head;
  std::size_t next = 0;
  for (std::size_t k = 0; k < programs.size(); ++k) {
    text += names[k] + "\n";
    const auto found = exceptions().find(names[k]);
    const auto is_known = [&](Besides what) {
      return found != exceptions().end() && found->second.what == what &&
             found->second.capabilities.contains(capability);
    };
    int calls = 0, spills = 0, stack = 0;
    for (std::size_t n = 0; n < programs[k].kernels.size(); ++n) {
      const Code& code = codes[next++];
      const bool runs_steps = code.name.find("_scan_") != std::string::npos;
      if (are_steps[k] && !runs_steps) continue;
      text += line_of(code);
      CHECK_MESSAGE(code.spills_in_inner_loops == 0, names[k], ": ", code.name);
      calls += code.calls_in_loops;
      spills += code.spills_in_loops;
      stack = std::max(stack, code.stack_bytes);
      CHECK_MESSAGE(code.shared_bytes <= 48 << 10, names[k], ": ", code.name);
    }
    CHECK_MESSAGE((calls > 0) == is_known(Besides::calls_in_loops), names[k], ": ", calls,
                  " calls in loops, sm_", capability);
    const bool keeps = spills > 0 || stack > most_stack;
    CHECK_MESSAGE(keeps == is_known(Besides::sums_in_memory), names[k], ": ", spills,
                  " spills in loops, a stack of ", stack, ", sm_", capability);
  }
  return text;
}

bool left_out(int capability, bool always) {
  const std::string test = "the code of canonical kernels, sm_" + std::to_string(capability);
  if (!always && !std::getenv("KROTON_TEST_ALL_GPUS")) {
    leave_out(test, "it takes long; KROTON_TEST_ALL_GPUS=1 asks for it");
    return true;
  }
  const std::string lacks = what_sass_lacks();
  if (lacks.empty()) return false;
  leave_out(test, lacks);
  return true;
}

}  // namespace

TEST_CASE("facts about the instructions of a kernel") {
  const Code code = facts_of(R"(
        /*0000*/                   LDC R1, c[0x0][0x28] ;   /* 0x00000a00ff017b82 */
        /*0010*/                   LDG.E.CONSTANT R4, desc[UR6][R2.64] ;
        /*0020*/                   LDG.E.64 R6, desc[UR6][R2.64+0x100] ;
        /*0030*/              @!P0 LDG.E R8, desc[UR6][R2.64+0x200] ;
        /*0040*/                   STS.128 [R9], R4 ;
        /*0050*/                   LDG.E R10, desc[UR6][R2.64] ;
        /*0060*/                   FADD R10, R10, R7 ;
        /*0070*/                   CALL.REL.NOINC 0x1150 ;
        /*0080*/               @P0 BRA 0x50 ;
        /*0090*/                   STL [R1], R4 ;
        /*00a0*/                   CALL.REL.NOINC 0x1150 ;
        /*00b0*/                   LDS.64 R4, [R9] ;
        /*00c0*/                   STG.E.U8 desc[UR6][R2.64], R4 ;
        /*00d0*/                   EXIT ;
        /*00e0*/                   BRA 0xe0;
  )");
  CHECK(code.loads_in_flight == 3);
  CHECK(code.load_bytes == 8);
  CHECK(code.store_bytes == 1);
  CHECK(code.shared_load_bytes == 8);
  CHECK(code.calls_in_loops == 1);
  CHECK(code.spills == 1);
  CHECK(code.spills_in_loops == 0);
  CHECK(code.loop_instructions == 4);
}

TEST_CASE("warps that fit on a processor") {
  CHECK(resident_warps(90, 256, 32, 0) == 64);
  CHECK(resident_warps(90, 256, 33, 0) == 48);
  CHECK(resident_warps(90, 256, 79, 0) == 24);
  CHECK(resident_warps(90, 32, 32, 0) == 32);
  CHECK(resident_warps(75, 256, 32, 0) == 32);
  CHECK(resident_warps(80, 256, 32, 40 << 10) == 32);
}

TEST_CASE("golden: the code of canonical kernels, sm_90") {
  if (left_out(90, true)) return;
  check_golden("sm_90", table(90), R"golden(
kernel                                 regs warps  load store  lds in-flight shared  loop
elementwise, free
  k0_add_relu_mul                        16    64    16    16    0         2      0     0
tanh of 1e7
  k0_tanh                                21    64    16    16    0         1      0     0
exp, f64
  k0_exp_mul                             24    64    16    16    0         1      0     0
bias, free
  k0_mul                                 26    64    16    16    0         5      0     0
transpose of 4096x4096
  k0_copy                                29    64     4     4    4         4   4224     0
x + transpose(y), free
  k0_add                                 38    48     4     4    4         4   4224     0
concatenate
  k0_mul_concatenate                     12    64     4     4    0         1      0     0
softmax of 1000x1000
  k0_max_sub_exp_sum_div_mul             26    64    16    16    4         5     32    75
softmax of 8x1e6
  k0_max_sub_exp_sum_div_mul             40    48     4     4    4        32     32    75
  k1_max_sub_exp_sum_div_mul             28    32     4     4    0        15      0     0
  k2_max_sub_exp_sum_div_mul             24    64    16    16    0         3      0     0
softmax, free
  k0_max_sub_exp_sum_div_mul             40    48     4     4    4        32     32    75
  k1_max_sub_exp_sum_div_mul             36    48     4     4    4        16     32   133
  k2_max_sub_exp_sum_div_mul             26    64    16    16    0         3      0     0
  k3_max_sub_exp_sum_div_mul             38    48     4     4    0        32      0     0
  k4_max_sub_exp_sum_div_mul             39    48     4     4    4        32     32    75
  k5_max_sub_exp_sum_div_mul             35    48     4     4    4        16     32    94
log_softmax of 8192x128
  k0_max_sub_exp_sum_log_sub             26    64    16    16    0         5      0     0
sum of rows, free
  k0_sum                                 63    32     4     4    4        16     32    43
  k1_sum                                 47    40     4     4    4        16     32    43
  k2_sum                                 47    40     4     4    0        16      0    39
  k3_sum                                 47    40     4     4    4        16     32    43
softmax of 1e6x10
  k0_max_sub_exp_sum_div_mul             64    32     4     4    4        10   5632     0
argmax of rows, free
  k0_argmax                              34    48     4     8   16         4     96    77
  k1_argmax                              29    64     8     8   16         8     96    75
  k2_argmax                              22    64     4     8    0         4      0    75
  k3_argmax                              21    64     4     8   16         4     96    75
mean of rows, f64
  k0_sum_size_div                        62    32     8     8    8         8     64    43
  k1_sum_size_div                        55    32     8     8    8        16     64    43
  k2_sum_size_div                        61    32     8     8    0        16      0    39
  k3_sum_size_div                        55    32     8     8    8        16     64    43
layer norm
  k0_sum_div_sub_mul_sum_div_add_sqr     32    64    16    16   16        10     32    26
layer norm, gradients
  k0_mul_sum_div_sub_mul_sum_div_add     32    64    16    16    4        10     32    43
  k1_mul_sum                             56    32     4     4    4         8   2048    27
  k2_mul_sum                             37    32     4     4    4         4   4096    18
  k3_mul_sum                             42    32     4     4    4         8   4096    27
  k4_sum                                 49    32     4     4    4         4   2048    18
  k5_sum                                 37    32     4     4    4         4   4096    18
  k6_sum                                 37    32     4     4    4         4   4096    18
sum of all, free
  k0_sum                                 55    32     4     4    4        16     32    43
  k1_sum                                 55    32     4     4    4        16     32    43
  k2_sum                                 47    40     4     4    4        16     32    43
argmax of all, free
  k0_argmax                              32    64     4     8   16         4     96    80
  k1_argmax                              29    64     8     8   16         8     96    75
  k2_argmax                              21    64     4     8   16         4     96    75
softmax of all, free
  k0_max_sub_exp_sum                     32    64     4     4   16        16     32    71
  k1_max_sub_exp_sum                     32    64     4     4   16        16     32    71
  k2_max_sub_exp_sum                     36    48     4     4    4         4     32    93
  k3_max_sub_exp_sum                     55    32     4     4    4        16     32    43
  k4_max_sub_exp_sum                     38    48     4     4    4        16     32    95
  k5_div_mul                             16    64    16    16    0         1      0     0
sum of columns of 1e6x8
  k0_sum                                 46    40     4     4    4         4   1024    48
  k1_sum                                 47    32     4     4    4         4   4096    48
sum of columns, free
  k0_sum                                 54    32     4     4    4         4   2048    24
  k1_sum                                 48    32     4     4    4         4   2048    24
  k2_sum                                 48    32     4     4    4         4   2048    24
sum of 512 columns
  k0_sum                                 49    32     4     4    4         4   2048    18
  k1_sum                                 37    32     4     4    4         4   4096    18
  k2_sum                                 37    32     4     4    4         4   4096    18
softmax of columns, free
  k0_max_sub_exp_sum_div                 48    32     4     4    4        16   2048   105
  k1_max_sub_exp_sum_div                 40    48     4     4    4        16   2048   105
  k2_max_sub_exp_sum_div                 56    32     4     4    4         5   2048   110
  k3_max_sub_exp_sum_div                 48    32     4     4    4         4   2048    24
  k4_max_sub_exp_sum_div                 40    50     4     4    0        16      0   110
  k5_mul                                 26    64    16    16    0         5      0     0
sum of channels
  k0_sum                                 64    32     4     4    4        16     32   289
  k1_sum                                 37    32     4     4    4         4   4096    18
  k2_sum                                 64    32     4     4    4        16     32   289
relu of dot 4096x4096x4096
  k0_dot_relu                           190     8     4    16   16         8   8448   609
relu of dot 64x16384x64
  k0_dot_relu                            76    24     4    16   16         8   8704   356
  k1_dot_relu                            19    64     4     4    4         4   4096     0
relu of dot 128x784x512
  k0_dot_relu                            71    24     4    16   16         8   8704   352
  k1_dot_relu                            18    64     4     4    0         7      0     0
relu of dot 1024x1024x1024, f64
  k0_dot_relu                           126    16     8    16   16         8  17408   383
relu of dot 4096x512x10
  k0_dot_relu                            80    24     4     4   16         5   5632   145
  k1_dot_relu                            12    64     4     4    0         4      0     0
relu of dot + bias, free
  k0_dot_add_relu                       114    16     4    16   16         8   8704   428
  k1_dot_add_relu                        54    32     4     4    4         4   2048    23
  k2_dot_add_relu                       108    16    16    16   16         8   8704   440
  k3_dot_add_relu                       207     8    16    16   16         8   8448   699
relu of dot + bias, free, with the library
  k0_dot_add_relu                       211     8     4    16   16         8   8448   696
  k1_dot_add_relu                        26    64    16    16    0         5      0     0
  k2_dot_add_relu                       114    16     4    16   16         8   8704   428
  k3_dot_add_relu                        54    32     4     4    4         4   2048    23
  k4_dot_add_relu                       108    16    16    16   16         8   8704   440
  k5_dot_add_relu                       207     8    16    16   16         8   8448   699
relu of dot of transposed, free
  k0_dot_relu                           109    16     4    16   16         8   8704   426
  k1_dot_relu                            54    32     4     4    4         4   2048    24
  k2_dot_relu                           108    16     4    16   16         8   8704   443
  k3_dot_relu                           211     8     4    16   16         8   8448   701
exp of matmul of a batch
  k0_dot_exp                             72    24     4    16   16         8   8704   350
  k1_dot_exp                            127    16     4    16   16         8   8448   625
dot of matrix and vector
  k0_mul_sum                             41    40    16     4   16        40     32    26
conv2d of 64x56x56, 3x3
  k0_unslice_convolution                124    16     4    16   16        15  14400   789
  k1_unslice_convolution                 48    32     4     4    4         4   2048    25
  k2_unslice_convolution                128    16     4    16   16        15  14400   814
conv2d, gradient of the image
  k0_unslice_unslice_convolution        127    16     4    16   16        15  14400   806
  k1_unslice_unslice_convolution         48    32     4     4    4         4   2048    25
  k2_unslice_unslice_convolution        128    16     4    16   16        15  14400   804
conv2d, gradient of the filters
  k0_unslice                             52    36     4    16    0         4      0     0
  k1_convolution                        124    16     4    16   16        16   7616   650
  k2_convolution                         43    40     4     4    4         4   1024    18
  k3_convolution                        128    16     4     4   16        16   7616   654  spills:
          5, stack 8
  k4_copy                                14    64     4     4    0         1      0     0
gather, free
  k0_take                                18    64     8     8    0         1      0     0
scatter_add, free
  k0_scatter_add                         14    64     4    16    0         1      0     0
  k1_scatter_add                         30    64     8     8    4         2   8704    23
  k2_scatter_add                         10    64     8     8    0         1      0     0
  k3_scatter_add                         56    20     4     4    4        16  20992    22
  k4_scatter_add                         34    48     4     4   16         4    512    23
  k5_scatter_add                         64    20     4     4   16        16  21248    22  spills:
          2, stack 8
  k6_scatter_add                         56    20     4     4    4        16  20992    22
  k7_scatter_add                         34    48     4     4   16         4    512    23
  k8_scatter_add                         64    20     4     4   16        16  21248    22
  k9_scatter_add                         56    20     4     4    4        16  20992    22
  k10_scatter_add                        34    48     4     4   16         4    512    23
  k11_scatter_add                        64    20     4     4   16        16  21248    22
  k12_scatter_add                        56    20     4     4    4        16  20992    22
  k13_scatter_add                        34    48     4     4   16         4    512    23
  k14_scatter_add                        64    20     4     4   16        16  21248    22
  k15_scatter_add                        56    20     4     4    4        16  20992    22
  k16_scatter_add                        34    48     4     4   16         4    512    23
  k17_scatter_add                        64    20     4     4   16        16  21248    22
  k18_scatter_add                         8    64     4     4    0         2      0     0
  k19_scatter_add                        32    64     4     4    0         4      0    49
  k20_scatter_add                        64    32     4     4    0        51      0     0
  k21_scatter_add                        56    36     4     4    0        16      0    73
  k22_mul                                16    64    16    16    0         1      0     0
scatter_add of numbers
  k0_scatter_add                          6    64     4     4    0         1      0     0
  k1_scatter_add                         16    64     8     8    0         2      0    25
  k2_scatter_add                         12    64     8     8    0         1      0     0
  k3_scatter_add                         25    64     4     4    4         2  10240   143
  k4_scatter_add                         27    64     4     4    4         4   1024    39
cumsum down rows
  k0_cumsum                              16    64    16    16    0         1      0     0
  k1_cumsum                              26    64     4     4    0         5      0    26
  k2_cumsum                              60    32     4     4    4         7   2048     0
  k3_cumsum                              32    64     4     4    4         5   2048   156
  k4_cumsum                              52    32     4     4    4        16   2304   305
MLP step 784-512-10
LSTM step, 256 units
  k4_scan_dot_add_add_sigmoid_sigmoi     49    32     4     4    0        32      0   262  calls in
          loops: 5
  k14_scan_add_mul_mul_sub_mul_add_m     67    16     4     4    0        32      0   196
LSTM step, 64 units
  k4_scan_dot_add_add_sigmoid_sigmoi    127    16     4     4    0        96      0   273  calls in
          loops: 5
  k14_scan_add_mul_mul_sub_mul_add_m     67    16     4     4    0        32      0   180
running sum by scan
gradient of a running sum by scan
1000 steps of oscillators
  k2_scan_sin_neg_mul_sub_mul_add_mu     24    64     4     4    0         2      0   165
Kalman filter of 4 numbers
  k3_scan_mul_sum_dot_dot_add_mul_su     50    32     4     4    0         9      0   173  calls in
          loops: 1
relu of dot 4096x4096x4096, bf16
  k0_cast_cast_dot_cast_cast_relu_ca    125    16     2     4    4        16  49152   338  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot 4096x4096x4096, bf16, with the library
  k0_cast_cast_dot_cast_cast_relu_ca    125    16     2     8    4        16  49152   338  HMMA 32,
          LDSM 12, LDGSTS 12
  k1_cast_cast_dot_cast_cast_relu_ca     21    64    16    16    0         2      0     0
relu of dot 8x4096x4096, f16
  k0_cast_cast_dot_cast_cast_relu_ca     80    24     2     8    4        32  27648   372  HMMA 8,
          LDSM 6, LDGSTS 15
  k1_cast_cast_dot_cast_cast_relu_ca     22    64     4     2    0         8      0     0
relu of dot 4096x4096x4096, TF32
  k0_dot_relu                           121    16     4     8    4        16  49152   409  HMMA 32,
          LDSM 8, LDGSTS 12
relu of dot bf16, free
  k0_cast_cast_dot_cast_cast_relu_ca    102    16     2     8    4        16  24576   405  HMMA 16,
          LDSM 8, LDGSTS 12
  k1_cast_cast_dot_cast_cast_relu_ca     54    32     4     2    4         4   2048    24
  k2_cast_cast_dot_cast_cast_relu_ca    100    16     2     4    4        16  24576   421  HMMA 16,
          LDSM 8, LDGSTS 12
  k3_cast_cast_dot_cast_cast_relu_ca    126    16     2     4    4        16  49152   449  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot of transposed + bias, bf16
  k0_cast_cast_dot_cast_cast_cast_ad     98    16     4     4    4        16  24576   359  HMMA 16,
          LDSM 8, LDGSTS 12
conv2d of 256x56x56, 1x1
  k0_convolution                         95    16     4    16   16        12  12800   626
conv2d of 3x224x224, 7x7, stride 2
  k0_unslice_convolution                113    16     4    16   16        11  11200   615
conv2d of 128x56x56, 3x3, stride 2
  k0_unslice_convolution                124    16     4    16   16        15  14400   776
  k1_unslice_convolution                 48    32     4     4    4         4   2048    25
  k2_unslice_convolution                127    16     4    16   16        15  14400   755
conv2d of 128x56x56, 3x3, stride 2, by the image
  k0_convolution                        105    16     4    16   16        12  12800   628
  k1_unslice_convolution                 94    16     4     4   16        12  12800   624
  k2_unslice_convolution                 96    16     4    16   16        12  12800   627
  k3_unslice_unslice_convolution        127    16     4    16   16        12  12800   664
  k4_unslice_unslice_convolution         53    32     4     4    4         4   2048    26
  k5_unslice_unslice_convolution        113    16     4     4   16        12  12800   641
  k6_unslice_unslice_add_unslice_add     32    64     4     4    0         4      0     0
conv2d of 128x56x56, 3x3, stride 2, by the filters
  k0_unslice                             54    36     4    16    0         4      0     0
  k1_convolution                        127    16     4    16   16        12  11200   660
  k2_convolution                         46    40     4     4    4         4   1024    22
  k3_convolution                        127    16     4     4   16        12  11200   661
  k4_copy                                14    64     4     4    0         1      0     0
conv2d of 64x56x56, 3x3, dilation 2
  k0_unslice_convolution                124    16     4    16   16        15  14400   789
  k1_unslice_convolution                 48    32     4     4    4         4   2048    25
  k2_unslice_convolution                128    16     4    16   16        15  14400   814
conv2d of 128x28x28, 3x3, 4 groups
  k0_unslice_convolution                127    16     4    16   16        24  12096   808
  k1_unslice_convolution                 48    32     4     4    4         4   2048    25
  k2_unslice_convolution                113    16     4    16   16        24  12096   764
  k3_copy                                16    64    16    16    0         1      0     0
conv2d of 96x56x56, 3x3, 96 groups
  k0_unslice_mul_mul_add_mul_add_mul     36    48     4     4    0        27      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the image
  k0_unslice_unslice_mul_mul_add_mul     38    48     4     4    0        27      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the filters
  k0_unslice_mul_sum_mul_sum_mul_sum     52    32     4     4    4        10     32   112
  k1_unslice_mul_sum_mul_sum_mul_sum     64    32     4     4    4        27     32    99
  k2_unslice_mul_sum_mul_sum_mul_sum     64    32     4     4    4        10     32   107
  k3_concatenate                         12    64     4     4    0         1      0     0
  k4_copy                                 8    64     4     4    0         1      0     0
conv2d of 64 channels, 3x3, free
  k0_unslice_convolution                128    16     4    16   16        15  14400   787  spills:
          2, stack 8
  k1_unslice_convolution                 54    32     4     4    4         4   2048    23
  k2_unslice_convolution                127    16     4     4   16        15  14400   820
conv2d of 64 channels, 3x3, free, by the image
  k0_unslice_unslice_convolution        128    16     4    16   16        15  14400   817  spills:
          4, stack 8
  k1_unslice_unslice_convolution         54    32     4     4    4         4   2048    23
  k2_unslice_unslice_convolution        128    16     4     4   16        15  14400   803  spills:
          8, stack 8
conv2d of 64 channels, 3x3, free, by the filters
  k0_unslice                             40    50     4    16    0         4      0     0
  k1_convolution                        126    16     4    16   16        16   8704   746  spills:
          60, stack 48
  k2_convolution                         43    40     4     4    4         4   1024    18
  k3_convolution                        128    16     4     4   16        16   8704   771  spills:
          25, stack 24
  k4_copy                                14    64     4     4    0         1      0     0
conv1d of 64x4096, 5
  k0_unslice_convolution                126    16     4    16   16        16  16000   858
  k1_unslice_convolution                 48    32     4     4    4         4   2048    23
  k2_unslice_convolution                109    16     4    16   16        16  16000   820
conv3d of 32x16x28x28, 3x3x3
  k0_unslice_convolution                128    16     4    16   16        24  12096   829  spills:
          20, stack 16
  k1_unslice_convolution                 48    32     4     4    4         4   2048    25
  k2_unslice_convolution                126    16     4    16   16        24  12096   830  spills:
          28, stack 48
attention of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    143    12     2     4   16        32  33792  1435  HMMA 64,
          LDSM 40, LDGSTS 16
attention of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    127    16     4    16   16        32  37888   290
causal attention of 8x12x1024x64, bf16
  k0_cast_cast_dot_iota_iota_le_cast    155    12     2     4   16        32  33792  2191  HMMA 64,
          LDSM 40, LDGSTS 16
attention of heads of 128, f16, free
  k0_cast_cast_dot_cast_cast_mul_cas    200     8     2     4   16        64  37888  1165  HMMA 64,
          LDSM 42, LDGSTS 20
causal attention of heads of 64, f32, free
  k0_dot_iota_iota_le_mul_where_max_    128    16     4    16   16        32  37888   290
attention of 8x12x1024x64, f16, gradients
  k0_cast_cast_dot_cast_cast_mul_cas    145    12     2     4   16        32  33792  1444  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            15    64     4     4    0         4      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    236     8     4     4    4        32  32768   849  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    172     8     4     4    4        32  28672   794  HMMA 48,
          LDSM 34, LDGSTS 12
cumsum of 1e6
  k0_cumsum                              28    64     4     4    4         5  11264     0
  k1_cumsum                              16    64     4     4    4         2   2048     0
  k2_cumsum                              32    64     4     4    4         5  11284     0
cumsum of rows, free
  k0_cumsum                              16    64     4     4    0         1      0     0
  k1_cumsum                              22    64     4     4    0         5      0    26
  k2_cumsum                              30    64     4     4    4         5  11264     0
  k3_cumsum                              32    64     4     4    4         4   2048   148
  k4_cumsum                              52    32     4     4    4         8  11284   295
linear recurrence of 100000x16
  k0_linear_recurrence                   45    40     4     8    8        14   6144     0
  k1_linear_recurrence                   49    32     8     4    8         9   6144     0
  k2_linear_recurrence                   56    32     4     4    8        32   6272     0
update of an embedding
  k0_checked_index                       10    64     8     8    0         1      0     0
  k1_mul_add_at                          10    64     4     4    0         1      0     0
  k2_mul_add_at                          48    20     4     4    4        16  20992    22
  k3_mul_add_at                          31    64     4     4   16         1    512     0
  k4_mul_add_at                          64    20     4     4   16        16  21248    22
  k5_mul_add_at                          48    20     4     4    4        16  20992    22
  k6_mul_add_at                          31    64     4     4   16         1    512     0
  k7_mul_add_at                          64    20     4     4   16        16  21248    22
  k8_mul_add_at                          48    20     4     4    4        16  20992    22
  k9_mul_add_at                          31    64     4     4   16         1    512     0
  k10_mul_add_at                         64    20     4     4   16        16  21248    22
  k11_mul_add_at                         10    64     4     4    0         2      0     0
  k12_mul_add_at                         26    64     4     4    0         4      0    37
  k13_mul_add_at                         63    32     4     4    0        54      0     0
  k14_mul_add_at                         47    42     4     4    0        16      0    63
argsort of 1e6
  k0_argsort                             17    64    16    16    0         1      0     0
  k1_argsort                             64    16     8     4    4        14  25344    22
  k2_argsort                             30    64     4     4   16         4    512    21
  k3_argsort                             64    16     8     8   16        14  25600    22  spills:
          4, stack 8
  k4_argsort                             64    16     8     4    4        14  25344    22
  k5_argsort                             30    64     4     4   16         4    512    21
  k6_argsort                             64    16     8     8   16        14  25600    22  spills:
          4, stack 8
  k7_argsort                             64    16     8     4    4        14  25344    22
  k8_argsort                             30    64     4     4   16         4    512    21
  k9_argsort                             64    16     8     8   16        14  25600    22  spills:
          4, stack 8
  k10_argsort                            64    16     8     4    4        14  25344    22
  k11_argsort                            30    64     4     4   16         4    512    21
  k12_argsort                            64    16     8     8   16        14  25600    22  spills:
          4, stack 8
  k13_argsort                            64    16     8     4    4        14  25344    22
  k14_argsort                            30    64     4     4   16         4    512    21
  k15_argsort                            64    16     8     8   16        14  25600    22  spills:
          4, stack 8
  k16_argsort                            64    16     8     4    4        14  25344    22
  k17_argsort                            30    64     4     4   16         4    512    21
  k18_argsort                            64    16     8     8   16        14  25600    22  spills:
          4, stack 8
  k19_argsort                            14    64     4    16    0         2      0     0
sort of 1000x1000
  k0_sort                                36    50    16    16    0         1      0     0
  k1_sort                                64    16     8     4    4        14  25344    22
  k2_sort                                10    64     4     4    0         1      0     0
  k3_sort                                64    16     8     8   16        14  25600    22
  k4_sort                                64    16     8     4    4        14  25344    22
  k5_sort                                10    64     4     4    0         1      0     0
  k6_sort                                64    16     8     8   16        14  25600    22
  k7_sort                                64    16     8     4    4        14  25344    22
  k8_sort                                10    64     4     4    0         1      0     0
  k9_sort                                64    16     8     8   16        14  25600    22
  k10_sort                               64    16     8     4    4        14  25344    22
  k11_sort                               10    64     4     4    0         1      0     0
  k12_sort                               64    16     8     8   16        14  25600    22
  k13_sort                               64    16     8     4    4        14  25344    22
  k14_sort                               10    64     4     4    0         1      0     0
  k15_sort                               64    16     8     8   16        14  25600    22
  k16_sort                               64    16     8     4    4        14  25344    22
  k17_sort                               10    64     4     4    0         1      0     0
  k18_sort                               64    16     8     8   16        14  25600    22
  k19_sort                               32    64    16    16    0         4      0     0
sort of 10000x100
  k0_sort                                36    50    16    16    0         1      0     0
  k1_sort                                62    32     8     8    0        24      0     0
attention step of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    145    12     4     4   16        32  33792  1444  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            15    64     4     4    0         4      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    236     8     4     4    4        32  32768   849  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    172     8     4     4    4        32  28672   794  HMMA 48,
          LDSM 34, LDGSTS 12
attention step of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    125    16    16    16   16        32  37888   290
  k1_sum                                 15    64     8     4    0         6      0     0
  k2_dot_mul_sub_exp_mul_dot_sub_mul    119    16     4    16   16        76  44288   293
  k3_dot_mul_sub_exp_mul_dot_sub_mul    128    16     4    16   16        64  44288   291
attention step of heads of 128, bf16
  k0_cast_cast_dot_cast_cast_mul_cas    183     8     4     4   16        64  37888  1260  HMMA 64,
          LDSM 42, LDGSTS 20
  k1_cast_sum                            19    64     8     4    0         8      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    255     8     4     4    4        64  36864  1964  HMMA 128,
          LDSM 84, LDGSTS 32
  k3_cast_cast_dot_cast_cast_mul_cas    228     8     4     4    4        64  34816  1829  HMMA 96,
          LDSM 66, LDGSTS 32
attention of 12 heads that share 4 keys, f16
  k0_cast_cast_dot_cast_cast_mul_cas    139    12     2     4   16        32  33792  1435  HMMA 64,
          LDSM 40, LDGSTS 16
)golden");
}

TEST_CASE("golden: the code of canonical kernels, sm_80") {
  if (left_out(80, false)) return;
  check_golden("sm_80", table(80), R"golden(
kernel                                 regs warps  load store  lds in-flight shared  loop
elementwise, free
  k0_add_relu_mul                        15    64    16    16    0         2      0     0
tanh of 1e7
  k0_tanh                                20    64    16    16    0         1      0     0
exp, f64
  k0_exp_mul                             24    64    16    16    0         1      0     0
bias, free
  k0_mul                                 30    64    16    16    0         5      0     0
transpose of 4096x4096
  k0_copy                                30    64     4     4    4         4   4224     0
x + transpose(y), free
  k0_add                                 32    64     4     4    4         6   4224     0
concatenate
  k0_mul_concatenate                     12    64     4     4    0         1      0     0
softmax of 1000x1000
  k0_max_sub_exp_sum_div_mul             26    64    16    16    4         5     32    75
softmax of 8x1e6
  k0_max_sub_exp_sum_div_mul             38    48     4     4    4        32     32    75
  k1_max_sub_exp_sum_div_mul             28    32     4     4    0        15      0     0
  k2_max_sub_exp_sum_div_mul             24    64    16    16    0         3      0     0
softmax, free
  k0_max_sub_exp_sum_div_mul             37    48     4     4    4        32     32    75
  k1_max_sub_exp_sum_div_mul             36    48     4     4    4        16     32   133
  k2_max_sub_exp_sum_div_mul             30    64    16    16    0         3      0     0
  k3_max_sub_exp_sum_div_mul             35    48     4     4    0        32      0     0
  k4_max_sub_exp_sum_div_mul             39    48     4     4    4        32     32    75
  k5_max_sub_exp_sum_div_mul             36    48     4     4    4        16     32    94
log_softmax of 8192x128
  k0_max_sub_exp_sum_log_sub             22    64    16    16    0         5      0     0
sum of rows, free
  k0_sum                                 63    32     4     4    4        16     32    43
  k1_sum                                 47    40     4     4    4        16     32    43
  k2_sum                                 47    40     4     4    0        16      0    39
  k3_sum                                 47    40     4     4    4        16     32    43
softmax of 1e6x10
  k0_max_sub_exp_sum_div_mul             64    32     4     4    4        10   5632     0
argmax of rows, free
  k0_argmax                              34    48     4     8   16         4     96    77
  k1_argmax                              29    64     8     8   16         8     96    75
  k2_argmax                              22    64     4     8    0         4      0    75
  k3_argmax                              21    64     4     8   16         4     96    75
mean of rows, f64
  k0_sum_size_div                        61    32     8     8    8         8     64    43
  k1_sum_size_div                        57    32     8     8    8        16     64    43
  k2_sum_size_div                        61    32     8     8    0        16      0    39
  k3_sum_size_div                        56    32     8     8    8        16     64    43
layer norm
  k0_sum_div_sub_mul_sum_div_add_sqr     32    64    16    16   16        10     32    26
layer norm, gradients
  k0_mul_sum_div_sub_mul_sum_div_add     40    48    16    16    4        10     32    43
  k1_sub_div_mul_sum_sum                 57    32     4     4    4         4   4096   100  calls in
          loops: 7
  k2_sub_div_mul_sum_sum                 46    32     4     4    4         8   8192    27
  k3_sub_div_mul_sum_sum                 51    32     4     4    4         4   8192    95  calls in
          loops: 7
sum of all, free
  k0_sum                                 55    32     4     4    4        16     32    43
  k1_sum                                 55    32     4     4    4        16     32    43
  k2_sum                                 55    32     4     4    4        16     32    43
argmax of all, free
  k0_argmax                              30    64     4     8   16         4     96    79
  k1_argmax                              29    64     8     8   16         8     96    75
  k2_argmax                              21    64     4     8   16         4     96    75
softmax of all, free
  k0_max_sub_exp_sum                     32    64     4     4   16        16     32    71
  k1_max_sub_exp_sum                     32    64     4     4   16        16     32    71
  k2_max_sub_exp_sum                     40    48     4     4    4         4     32    92
  k3_max_sub_exp_sum                     55    32     4     4    4        16     32    43
  k4_max_sub_exp_sum                     40    48     4     4    4        16     32    93
  k5_div_mul                             14    64    16    16    0         1      0     0
sum of columns of 1e6x8
  k0_sum                                 46    40     4     4    4         4   1024    47
  k1_sum                                 46    32     4     4    4         4   4096    47
sum of columns, free
  k0_sum                                 54    32     4     4    4         4   2048    24
  k1_sum                                 48    32     4     4    4         4   2048    23
  k2_sum                                 48    32     4     4    4         4   2048    23
sum of 512 columns
  k0_sum                                 49    32     4     4    4         4   2048    18
  k1_sum                                 37    32     4     4    4         4   4096    18
  k2_sum                                 37    32     4     4    4         4   4096    18
softmax of columns, free
  k0_max_sub_exp_sum_div_mul             46    40     4     4    4        28   2560     0
  k1_max_sub_exp_sum_div_mul             54    32     4     4    4        16   4096   149
  k2_max_sub_exp_sum_div_mul             28    64    16    16    0         3      0     0
  k3_max_sub_exp_sum_div_mul             39    48     4     4    4         8   2560     0
  k4_max_sub_exp_sum_div_mul             61    32     4     4    4        40   8704     0
sum of channels
  k0_sum                                 64    32     4     4    4        16     32   290
  k1_sum                                 37    32     4     4    4         4   4096    18
  k2_sum                                 64    32     4     4    4        16     32   289
softmax of columns of 4096x4096
  k0_max_sub_exp_sum_div_mul             64    32     4     4    4        32   8704     0
argmax of columns of 4096x4096
  k0_argmax                              56    32     4     8    8         4   6144    77
  k1_argmax                              21    64     8     8    0         8      0     0
mean, variance and extremes of columns
  k0_sum_div_sub_mul_sum_div_max_min     61    32     4     4    4        31  17408     0
log_softmax over 64 channels
  k0_max_sub_exp_sum_log_sub             63    32     4     4    4        16   1024     0
batch norm
  k0_sum_size_div_sub_mul_sum_div_ad     40    48     4     4    4        16   2560     0
  k1_sum_size_div_sub_mul_sum_div_ad     64    32     4     4    4        16   4096   138  calls in
          loops: 7
  k2_sum_size_div_sub_mul_sum_div_ad     38    48     4     4    4        32   2560     0
  k3_sum_size_div_sub_mul_sum_div_ad     53    32     4     4    4        60   8704     0
  k4_sub_div_mul_add                     18    64     4     4    0         3      0     0
batch norm, gradients
  k0_mul_sum_size_div_sub_mul_sum_di     42    40     4     4    4        20   3840     0
  k1_mul_sum_size_div_sub_mul_sum_di     72    16     4     4    4        32   6144   140  calls in
          loops: 7
  k2_mul_sum_size_div_sub_mul_sum_di     56    32     4     4    4         2   4096   144  calls in
          loops: 14
  k3_mul_sum_size_div_sub_mul_sum_di     46    32     4     4    4         8   8192    27
  k4_mul_sum_size_div_sub_mul_sum_di     58    32     4     4    4         2   2048    95  calls in
          loops: 7
  k5_mul_sum_size_div_sub_mul_sum_di     37    32     4     4    4         4   4096    18
  k6_mul_sum_size_div_sub_mul_sum_di     21    64     4     4    0         3      0     0
  k7_mul_sum_size_div_sub_mul_sum_di     64    32     4     4    4        64   7680     0
  k8_mul_sum_size_div_sub_mul_sum_di     62    32     4     4    4        68  26112     0
batch norm of pictures, with gradients
  k0_sum_size_div_sub_mul_sum_div_ad     64    32     4     4    4        13     32   322
  k1_sum_size_div_sub_mul_sum_div_ad     71    16     4     4    4        32   6144   158  calls in
          loops: 7
  k2_sum_size_div_sub_mul_sum_div_ad     56    32     4     4    4         2     32   215  calls in
          loops: 14
  k3_sum_size_div_sub_mul_sum_div_ad     46    32     4     4    4         8   8192    27
  k4_sum_size_div_sub_mul_sum_div_ad     56    32     4     4    4         2     32   167  calls in
          loops: 7
  k5_sum_size_div_sub_mul_sum_div_ad     37    32     4     4    4         4   4096    18
  k6_sum_size_div_sub_mul_sum_div_ad     21    64     4     4    0         3      0     0
  k7_sum_size_div_sub_mul_sum_div_ad     64    32     4     4    4         8     32   247  calls in
          loops: 26
  k8_sub_div_mul_add                     18    64     4     4    0         3      0     0
mean cross entropy of 8192x1000
  k0_max_sub_exp_sum_log_pick_sub        25    64    16     8    4         5     32    75
  k1_sum_div                             32    64    16     4   16        16     64    26
relu of dot 4096x4096x4096
  k0_dot_relu                           204     8     4     4   16         8   8448   611
relu of dot 64x16384x64
  k0_dot_relu                            75    24     4     4   16         8   8704   357
  k1_dot_relu                            19    64     4     4    4         4   4096     0
relu of dot 128x784x512
  k0_dot_relu                            71    24     4     4   16         8   8704   356
  k1_dot_relu                            18    64     4     4    0         7      0     0
relu of dot 1024x1024x1024, f64
  k0_dot_relu                           128    16     8     8   16         8  17408   384
relu of dot 4096x512x10
  k0_dot_relu                            77    24     4     4   16         5   5632   144
  k1_dot_relu                            12    64     4     4    0         4      0     0
relu of dot + bias, free
  k0_dot_add_relu                       115    16     4     4   16         8   8704   415
  k1_dot_add_relu                        52    32     4     4    4         4   2048    23
  k2_dot_add_relu                        98    16     4     4   16         8   8704   451
  k3_dot_add_relu                       191     8     4     4   16         8   8448   711
relu of dot of transposed, free
  k0_dot_relu                           110    16     4     4   16         8   8704   418
  k1_dot_relu                            54    32     4     4    4         4   2048    24
  k2_dot_relu                           100    16     4     4   16         8   8704   442
  k3_dot_relu                           191     8     4     4   16         8   8448   704
exp of matmul of a batch
  k0_dot_exp                             72    24     4     4   16         8   8704   351
  k1_dot_exp                            128    16     4     4   16         8   8448   626
dot of matrix and vector
  k0_mul_sum                             41    40    16     4   16        40     32    26
conv2d of 64x56x56, 3x3
  k0_unslice_convolution                128    16     4     4   16        15  14400   767  spills:
          6, stack 16
  k1_unslice_convolution                 48    32     4     4    4         4   2048    28
  k2_unslice_convolution                128    16     4     4   16        15  14400   799
conv2d, gradient of the image
  k0_unslice_unslice_convolution        128    16     4     4   16        15  14400   798
  k1_unslice_unslice_convolution         48    32     4     4    4         4   2048    28
  k2_unslice_unslice_convolution        128    16     4     4   16        15  14400   790
conv2d, gradient of the filters
  k0_unslice                             50    36     4    16    0         4      0     0
  k1_convolution                        127    16     4     4   16        16   7616   659
  k2_convolution                         43    40     4     4    4         4   1024    18
  k3_convolution                        128    16     4     4   16        16   7616   659  spills:
          5, stack 8
  k4_copy                                14    64     4     4    0         1      0     0
gather, free
  k0_take                                18    64     8     8    0         1      0     0
scatter_add, free
  k0_scatter_add                         11    64     4    16    0         1      0     0
  k1_scatter_add                         31    64     8     8    4         2   8704    23
  k2_scatter_add                         10    64     8     8    0         1      0     0
  k3_scatter_add                         56    14     4     4    4        16  20992    22
  k4_scatter_add                         34    48     4     4   16         4    512    23
  k5_scatter_add                         64    14     4     4   16        16  21248    22  spills:
          6, stack 16
  k6_scatter_add                         56    14     4     4    4        16  20992    22
  k7_scatter_add                         34    48     4     4   16         4    512    23
  k8_scatter_add                         64    14     4     4   16        16  21248    22
  k9_scatter_add                         56    14     4     4    4        16  20992    22
  k10_scatter_add                        34    48     4     4   16         4    512    23
  k11_scatter_add                        64    14     4     4   16        16  21248    22
  k12_scatter_add                        56    14     4     4    4        16  20992    22
  k13_scatter_add                        34    48     4     4   16         4    512    23
  k14_scatter_add                        64    14     4     4   16        16  21248    22
  k15_scatter_add                        56    14     4     4    4        16  20992    22
  k16_scatter_add                        34    48     4     4   16         4    512    23
  k17_scatter_add                        64    14     4     4   16        16  21248    22
  k18_scatter_add                        10    64     4     4    0         1      0     0
  k19_scatter_add                        32    64     4     4    0         4      0    49
  k20_scatter_add                        64    32     4     4    0        49      0     0
  k21_scatter_add                        56    36     4     4    0        16      0    73
  k22_mul                                14    64    16    16    0         1      0     0
scatter_add of numbers
  k0_scatter_add                          6    64     4     4    0         1      0     0
  k1_scatter_add                         16    64     8     8    0         2      0    24
  k2_scatter_add                         10    64     8     8    0         1      0     0
  k3_scatter_add                         22    56     4     4    4         2  10240   135
  k4_scatter_add                         27    64     4     4    4         4   1024    38
cumsum down rows
  k0_cumsum                              14    64    16    16    0         1      0     0
  k1_cumsum                              24    64     4     4    0         5      0    26
  k2_cumsum                              63    32     4     4    4         8   2048     0
  k3_cumsum                              32    64     4     4    4         5   2048   155
  k4_cumsum                              53    32     4     4    4        16   2304   297
MLP step 784-512-10
LSTM step, 256 units
  k4_scan_dot_add_add_sigmoid_sigmoi     49    32     4     4    0        32      0   258  calls in
          loops: 5
  k14_scan_add_mul_mul_sub_mul_add_m     64    32     4     4    0        32      0   192
LSTM step, 64 units
  k4_scan_dot_add_add_sigmoid_sigmoi    127    16     4     4    0        96      0   274  calls in
          loops: 5
  k14_scan_add_mul_mul_sub_mul_add_m     72    16     4     4    0        32      0   177
running sum by scan
gradient of a running sum by scan
1000 steps of oscillators
  k2_scan_sin_neg_mul_sub_mul_add_mu     23    64     4     4    0         2      0   165
Kalman filter of 4 numbers
  k3_scan_mul_sum_mul_dot_dot_add_mu     55    32     4     4    0         9      0   181  calls in
          loops: 1
relu of dot 4096x4096x4096, bf16
  k0_cast_cast_dot_cast_cast_relu_ca    121    16     2     4    4        16  49152   334  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot 8x4096x4096, f16
  k0_cast_cast_dot_cast_cast_relu_ca     87    20     2     8    4        32  27648   362  HMMA 8,
          LDSM 6, LDGSTS 15
  k1_cast_cast_dot_cast_cast_relu_ca     22    64     4     2    0         8      0     0
relu of dot 4096x4096x4096, TF32
  k0_dot_relu                           124    16     4     8    4        20  49152   406  HMMA 32,
          LDSM 8, LDGSTS 12
relu of dot bf16, free
  k0_cast_cast_dot_cast_cast_relu_ca    100    16     2     8    4        16  24576   409  HMMA 16,
          LDSM 8, LDGSTS 12
  k1_cast_cast_dot_cast_cast_relu_ca     54    32     4     2    4         4   2048    24
  k2_cast_cast_dot_cast_cast_relu_ca     98    16     2     4    4        16  24576   423  HMMA 16,
          LDSM 8, LDGSTS 12
  k3_cast_cast_dot_cast_cast_relu_ca    128    16     2     4    4        16  49152   449  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot of transposed + bias, bf16
  k0_cast_cast_dot_cast_cast_cast_ad     98    16     4     4    4        16  24576   355  HMMA 16,
          LDSM 8, LDGSTS 12
conv2d of 256x56x56, 1x1
  k0_convolution                         89    16     4     4   16        12  12800   626
conv2d of 3x224x224, 7x7, stride 2
  k0_unslice_convolution                102    16     4     4   16        11  11200   616
conv2d of 128x56x56, 3x3, stride 2
  k0_unslice_convolution                128    16     4     4   16        15  14400   773
  k1_unslice_convolution                 48    32     4     4    4         4   2048    28
  k2_unslice_convolution                128    16     4     4   16        15  14400   750
conv2d of 128x56x56, 3x3, stride 2, by the image
  k0_convolution                         95    16     4     4   16        12  12800   626
  k1_unslice_convolution                 94    16     4     4   16        12  12800   624
  k2_unslice_convolution                 92    16     4     4   16        12  12800   622
  k3_unslice_unslice_convolution        124    16     4     4   16        12  12800   683
  k4_unslice_unslice_convolution         48    32     4     4    4         4   2048    27
  k5_unslice_unslice_convolution        107    16     4     4   16        12  12800   643
  k6_unslice_unslice_add_unslice_add     30    64     4     4    0         4      0     0
conv2d of 128x56x56, 3x3, stride 2, by the filters
  k0_unslice                             52    36     4    16    0         4      0     0
  k1_convolution                        125    16     4     4   16        12  11200   656
  k2_convolution                         46    40     4     4    4         4   1024    22
  k3_convolution                        128    16     4     4   16        12  11200   656
  k4_copy                                14    64     4     4    0         1      0     0
conv2d of 64x56x56, 3x3, dilation 2
  k0_unslice_convolution                128    16     4     4   16        15  14400   767  spills:
          6, stack 16
  k1_unslice_convolution                 48    32     4     4    4         4   2048    28
  k2_unslice_convolution                128    16     4     4   16        15  14400   799
conv2d of 128x28x28, 3x3, 4 groups
  k0_unslice_convolution                127    16     4     4   16        24  12096   806
  k1_unslice_convolution                 48    32     4     4    4         4   2048    28
  k2_unslice_convolution                105    16     4     4   16        24  12096   765
  k3_copy                                14    64    16    16    0         1      0     0
conv2d of 96x56x56, 3x3, 96 groups
  k0_unslice_mul_mul_add_mul_add_mul     38    48     4     4    0        27      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the image
  k0_unslice_unslice_mul_mul_add_mul     40    48     4     4    0        27      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the filters
  k0_unslice_mul_sum_mul_sum_mul_sum     52    32     4     4    4        10     32   115
  k1_unslice_mul_sum_mul_sum_mul_sum     64    32     4     4    4        27     32    99
  k2_unslice_mul_sum_mul_sum_mul_sum     62    32     4     4    4        10     32   107
  k3_concatenate                         12    64     4     4    0         1      0     0
  k4_copy                                 8    64     4     4    0         1      0     0
conv2d of 64 channels, 3x3, free
  k0_unslice_convolution                128    16     4     4   16        15  14400   778  spills:
          4, stack 8
  k1_unslice_convolution                 56    32     4     4    4         4   2048    24
  k2_unslice_convolution                126    16     4     4   16        15  14400   810
conv2d of 64 channels, 3x3, free, by the image
  k0_unslice_unslice_convolution        128    16     4     4   16        15  14400   805
  k1_unslice_unslice_convolution         56    32     4     4    4         4   2048    24
  k2_unslice_unslice_convolution        128    16     4     4   16        15  14400   797  spills:
          20, stack 24
conv2d of 64 channels, 3x3, free, by the filters
  k0_unslice                             40    50     4    16    0         4      0     0
  k1_convolution                        128    16     4     4   16        16   8704   744
  k2_convolution                         43    40     4     4    4         4   1024    18
  k3_convolution                        128    16     4     4   16        16   8704   791  spills:
          25, stack 24
  k4_copy                                14    64     4     4    0         1      0     0
conv1d of 64x4096, 5
  k0_unslice_convolution                128    16     4     4   16        16  16000   850
  k1_unslice_convolution                 48    32     4     4    4         4   2048    23
  k2_unslice_convolution                 98    16     4     4   16        16  16000   816
conv3d of 32x16x28x28, 3x3x3
  k0_unslice_convolution                128    16     4     4   16        24  12096   838  spills:
          20, stack 24
  k1_unslice_convolution                 48    32     4     4    4         4   2048    28
  k2_unslice_convolution                128    16     4     4   16        24  12096   829
attention of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    167    12     2     4   16        32  33792  1425  HMMA 64,
          LDSM 40, LDGSTS 16
attention of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    123    16     4    16   16        32  37888   289
causal attention of 8x12x1024x64, bf16
  k0_cast_cast_dot_iota_iota_le_cast    155    12     2     4   16        32  33792  2179  HMMA 64,
          LDSM 40, LDGSTS 16
attention of heads of 128, f16, free
  k0_cast_cast_dot_cast_cast_mul_cas    189     8     2     4   16        64  37888  1161  HMMA 64,
          LDSM 42, LDGSTS 20
causal attention of heads of 64, f32, free
  k0_dot_iota_iota_le_mul_where_max_    127    16     4    16   16        32  37888   289
attention of 8x12x1024x64, f16, gradients
  k0_cast_cast_dot_cast_cast_mul_cas    167    12     2     4   16        32  33792  1434  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            15    64     4     4    0         4      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    228     8     4     4    4        32  32768   849  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    168    12     4     4    4        32  28672   794  HMMA 48,
          LDSM 34, LDGSTS 12
cumsum of 1e6
  k0_cumsum                              26    64     4     4    4         4  11264     0
  k1_cumsum                              16    64     4     4    4         2   2048     0
  k2_cumsum                              30    64     4     4    4         5  11284     0
cumsum of rows, free
  k0_cumsum                              16    64     4     4    0         1      0     0
  k1_cumsum                              21    64     4     4    0         5      0    26
  k2_cumsum                              28    64     4     4    4         5  11264     0
  k3_cumsum                              25    64     4     4    4         4   2048   147
  k4_cumsum                              52    32     4     4    4         8  11284   290
linear recurrence of 100000x16
  k0_linear_recurrence                   46    40     4     8    8        14   6144     0
  k1_linear_recurrence                   49    32     8     4    8         9   6144     0
  k2_linear_recurrence                   56    32     4     4    8        32   6272     0
update of an embedding
  k0_checked_index                       10    64     8     8    0         1      0     0
  k1_mul_add_at                          10    64     4     4    0         1      0     0
  k2_mul_add_at                          48    14     4     4    4        16  20992    22
  k3_mul_add_at                          29    64     4     4   16         1    512     0
  k4_mul_add_at                          56    14     4     4   16        16  21248    22
  k5_mul_add_at                          48    14     4     4    4        16  20992    22
  k6_mul_add_at                          29    64     4     4   16         1    512     0
  k7_mul_add_at                          64    14     4     4   16        16  21248    22
  k8_mul_add_at                          48    14     4     4    4        16  20992    22
  k9_mul_add_at                          29    64     4     4   16         1    512     0
  k10_mul_add_at                         64    14     4     4   16        16  21248    22
  k11_mul_add_at                         10    64     4     4    0         1      0     0
  k12_mul_add_at                         26    64     4     4    0         4      0    37
  k13_mul_add_at                         63    32     4     4    0        54      0     0
  k14_mul_add_at                         47    42     4     4    0        16      0    63
argsort of 1e6
  k0_argsort                             17    64    16    16    0         1      0     0
  k1_argsort                             64    12     8     4    4        16  25344    22
  k2_argsort                             30    64     4     4   16         4    512    21
  k3_argsort                             64    12     8     8   16        16  25600    22  spills:
          4, stack 8
  k4_argsort                             64    12     8     4    4        16  25344    22
  k5_argsort                             30    64     4     4   16         4    512    21
  k6_argsort                             64    12     8     8   16        16  25600    22  spills:
          4, stack 8
  k7_argsort                             64    12     8     4    4        16  25344    22
  k8_argsort                             30    64     4     4   16         4    512    21
  k9_argsort                             64    12     8     8   16        16  25600    22  spills:
          4, stack 8
  k10_argsort                            64    12     8     4    4        16  25344    22
  k11_argsort                            30    64     4     4   16         4    512    21
  k12_argsort                            64    12     8     8   16        16  25600    22  spills:
          4, stack 8
  k13_argsort                            64    12     8     4    4        16  25344    22
  k14_argsort                            30    64     4     4   16         4    512    21
  k15_argsort                            64    12     8     8   16        16  25600    22  spills:
          4, stack 8
  k16_argsort                            64    12     8     4    4        16  25344    22
  k17_argsort                            30    64     4     4   16         4    512    21
  k18_argsort                            64    12     8     8   16        16  25600    22  spills:
          4, stack 8
  k19_argsort                            14    64     4    16    0         2      0     0
sort of 1000x1000
  k0_sort                                34    50    16    16    0         1      0     0
  k1_sort                                64    12     8     4    4        16  25344    22
  k2_sort                                10    64     4     4    0         1      0     0
  k3_sort                                64    12     8     8   16        16  25600    22
  k4_sort                                64    12     8     4    4        16  25344    22
  k5_sort                                10    64     4     4    0         1      0     0
  k6_sort                                64    12     8     8   16        16  25600    22
  k7_sort                                64    12     8     4    4        16  25344    22
  k8_sort                                10    64     4     4    0         1      0     0
  k9_sort                                64    12     8     8   16        16  25600    22
  k10_sort                               64    12     8     4    4        16  25344    22
  k11_sort                               10    64     4     4    0         1      0     0
  k12_sort                               64    12     8     8   16        16  25600    22
  k13_sort                               64    12     8     4    4        16  25344    22
  k14_sort                               10    64     4     4    0         1      0     0
  k15_sort                               64    12     8     8   16        16  25600    22
  k16_sort                               64    12     8     4    4        16  25344    22
  k17_sort                               10    64     4     4    0         1      0     0
  k18_sort                               64    12     8     8   16        16  25600    22
  k19_sort                               30    64    16    16    0         4      0     0
sort of 10000x100
  k0_sort                                34    50    16    16    0         1      0     0
  k1_sort                                61    32     8     8    0        24      0     0
attention step of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    167    12     4     4   16        32  33792  1434  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            15    64     4     4    0         4      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    228     8     4     4    4        32  32768   849  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    168    12     4     4    4        32  28672   794  HMMA 48,
          LDSM 34, LDGSTS 12
attention step of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    122    16    16    16   16        32  37888   289
  k1_sum                                 15    64     8     4    0         6      0     0
  k2_dot_mul_sub_exp_mul_dot_sub_mul    117    12     4    16   16        76  44288   292
  k3_dot_mul_sub_exp_mul_dot_sub_mul    128    12     4    16   16        64  44288   290
attention step of heads of 128, bf16
  k0_cast_cast_dot_cast_cast_mul_cas    190     8     4     4   16        64  37888  1249  HMMA 64,
          LDSM 42, LDGSTS 20
  k1_cast_sum                            19    64     8     4    0         8      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    255     8     4     4    4        64  36864  1944  HMMA 128,
          LDSM 84, LDGSTS 32
  k3_cast_cast_dot_cast_cast_mul_cas    235     8     4     4    4        64  34816  1809  HMMA 96,
          LDSM 66, LDGSTS 32
attention of 12 heads that share 4 keys, f16
  k0_cast_cast_dot_cast_cast_mul_cas    144    12     2     4   16        32  33792  1425  HMMA 64,
          LDSM 40, LDGSTS 16
)golden");
}

TEST_CASE("golden: the code of canonical kernels, sm_100") {
  if (left_out(100, false)) return;
  check_golden("sm_100", table(100), R"golden(
kernel                                 regs warps  load store  lds in-flight shared  loop
elementwise, free
  k0_add_relu_mul                        17    64    16    16    0         2      0     0
tanh of 1e7
  k0_tanh                                21    64    16    16    0         1      0     0
exp, f64
  k0_exp_mul                             24    64    16    16    0         1      0     0
bias, free
  k0_mul                                 25    64    16    16    0         2      0     0
transpose of 4096x4096
  k0_copy                                27    64     4     4    4         4   4224     0
x + transpose(y), free
  k0_add                                 30    64     4     4    4         4   4224     0
concatenate
  k0_mul_concatenate                     14    64     4     4    0         2      0     0
softmax of 1000x1000
  k0_max_sub_exp_sum_div_mul             28    64    16    16   16         5     32    34
softmax of 8x1e6
  k0_max_sub_exp_sum_div_mul             48    40     4     4   16        20     32    34
  k1_max_sub_exp_sum_div_mul             28    32     4     4    0        15      0     0
  k2_max_sub_exp_sum_div_mul             26    64    16    16    0         3      0     0
softmax, free
  k0_max_sub_exp_sum_div_mul             40    48     4     4   16        32     32    34
  k1_max_sub_exp_sum_div_mul             37    48     4     4   16        16     32    77
  k2_max_sub_exp_sum_div_mul             26    64    16    16    0         3      0     0
  k3_max_sub_exp_sum_div_mul             32    64     4     4    0        32      0     0
  k4_max_sub_exp_sum_div_mul             43    40     4     4   16        32     32    32
  k5_max_sub_exp_sum_div_mul             46    40     4     4   16        16     32    94
log_softmax of 8192x128
  k0_max_sub_exp_sum_log_sub             22    64    16    16    0         5      0     0
sum of rows, free
  k0_sum                                 61    32     4     4   16        16     32    41
  k1_sum                                 45    40     4     4   16        16     32    41
  k2_sum                                 45    40     4     4    0        16      0    41
  k3_sum                                 46    40     4     4   16        16     32    41
softmax of 1e6x10
  k0_max_sub_exp_sum_div_mul             46    42     4     4    4        10   5632     0
argmax of rows, free
  k0_argmax                              32    64     4     8   16         2     96    99
  k1_argmax                              26    64     8     8   16         4     96    98
  k2_argmax                              25    64     4     8    0         2      0    97
  k3_argmax                              23    64     4     8   16         2     96    97
mean of rows, f64
  k0_sum_size_div                        61    32     8     8   16         9     64    41
  k1_sum_size_div                        60    32     8     8   16        15     64    41
  k2_sum_size_div                        62    32     8     8    0        15      0    41
  k3_sum_size_div                        60    32     8     8   16        14     64    41
layer norm
  k0_sum_div_sub_mul_sum_div_add_sqr     29    64    16    16   16        10     32    26
layer norm, gradients
  k0_mul_sum_div_sub_mul_sum_div_add     37    48    16    16   16        10     32    26
  k1_mul_sum                             67    16     4     4    4        16   2048    41
  k2_mul_sum                             61    32     4     4    4        16   4096    39
  k3_mul_sum                             61    32     4     4    4        16   4096    41
  k4_sum                                 69    16     4     4    4        16   2048    39
  k5_sum                                 61    32     4     4    4        16   4096    39
  k6_sum                                 61    32     4     4    4        16   4096    39
sum of all, free
  k0_sum                                 47    40     4     4   16        16     32    41
  k1_sum                                 46    40     4     4   16        16     32    41
  k2_sum                                 44    40     4     4   16        16     32    41
argmax of all, free
  k0_argmax                              29    64     4     8   16         2     96   104
  k1_argmax                              26    64     8     8   16         4     96    97
  k2_argmax                              20    64     4     8   16         2     96    97
softmax of all, free
  k0_max_sub_exp_sum                     30    64     4     4   16        16     32    73
  k1_max_sub_exp_sum                     29    64     4     4   16        16     32    73
  k2_max_sub_exp_sum                     56    32     4     4   16         5     32    95
  k3_max_sub_exp_sum                     46    40     4     4   16        16     32    41
  k4_max_sub_exp_sum                     40    48     4     4   16        16     32    95
  k5_div_mul                             16    64    16    16    0         1      0     0
sum of columns of 1e6x8
  k0_sum                                 61    32     4     4    4        16   1024    39
  k1_sum                                 25    64     4     4    4         4   4096    17
sum of columns, free
  k0_sum                                 72    16     4     4    4         8   2048    39
  k1_sum                                 64    32     4     4    4         8   2048    39
  k2_sum                                 64    32     4     4    4         8   2048    39
sum of 512 columns
  k0_sum                                 69    16     4     4    4        16   2048    39
  k1_sum                                 61    32     4     4    4        16   4096    39
  k2_sum                                 61    32     4     4    4        16   4096    39
softmax of columns, free
  k0_max_sub_exp_sum_div                 40    48     4     4    4         8   2048    55
  k1_max_sub_exp_sum_div                 40    48     4     4    4         8   2048    55
  k2_max_sub_exp_sum_div                109    16     4     4    4         5   2048   105
  k3_max_sub_exp_sum_div                 64    32     4     4    4         8   2048    39
  k4_max_sub_exp_sum_div                 56    36     4     4    0         8      0   105
  k5_mul                                 25    64    16    16    0         2      0     0
sum of channels
  k0_sum                                 64    32     4     4   16         8     32   257
  k1_sum                                 61    32     4     4    4        16   4096    39
  k2_sum                                 64    32     4     4   16         8     32   231
relu of dot 4096x4096x4096
  k0_dot_relu                           193     8     4     4   16         8   8448   597
relu of dot 64x16384x64
  k0_dot_relu                            79    24     4     4   16         8   8704   341
  k1_dot_relu                            19    64     4     4    4         4   4096     0
relu of dot 128x784x512
  k0_dot_relu                            79    24     4     4   16         8   8704   338
  k1_dot_relu                            18    64     4     4    0         7      0     0
relu of dot 1024x1024x1024, f64
  k0_dot_relu                           128    16     8     8   16         8  17408   373
relu of dot 4096x512x10
  k0_dot_relu                            87    16     4     4   16         5   5632   130
  k1_dot_relu                            12    64     4     4    0         4      0     0
relu of dot + bias, free
  k0_dot_add_relu                       127    16     4     4   16         8   8704   409
  k1_dot_add_relu                        89    16     4     4    4         8   2048    39
  k2_dot_add_relu                       128    16     4     4   16         8   8704   367
  k3_dot_add_relu                       231     8     4     4   16         8   8448   625
relu of dot of transposed, free
  k0_dot_relu                           127    16     4     4   16         8   8704   409
  k1_dot_relu                            89    16     4     4    4         8   2048    39
  k2_dot_relu                           127    16     4     4   16         8   8704   370
  k3_dot_relu                           235     8     4     4   16         8   8448   625
exp of matmul of a batch
  k0_dot_exp                             78    24     4     4   16         8   8704   337
  k1_dot_exp                            128    16     4     4   16         8   8448   594
dot of matrix and vector
  k0_mul_sum                             40    48    16     4   16        32     32    26
conv2d of 64x56x56, 3x3
  k0_unslice_convolution                127    16     4     4   16        15  14400   729
  k1_unslice_convolution                 68    16     4     4    4         8   2048    39
  k2_unslice_convolution                127    16     4     4   16        15  14400   718
conv2d, gradient of the image
  k0_unslice_unslice_convolution        128    16     4     4   16        15  14400   775
  k1_unslice_unslice_convolution         68    16     4     4    4         8   2048    39
  k2_unslice_unslice_convolution        128    16     4     4   16        15  14400   748  spills:
          2, stack 8
conv2d, gradient of the filters
  k0_unslice                             46    42     4    16    0         4      0     0
  k1_convolution                        127    16     4     4   16        16   7616   702
  k2_convolution                         62    32     4     4    4         8   1024    26
  k3_convolution                        128    16     4     4   16        16   7616   688  spills:
          5, stack 8
  k4_copy                                14    64     4     4    0         1      0     0
gather, free
  k0_take                                18    64     8     8    0         1      0     0
scatter_add, free
  k0_scatter_add                         14    64     4    16    0         1      0     0
  k1_scatter_add                         44    40     8     8    4         8   8704    29
  k2_scatter_add                         10    64     8     8    0         1      0     0
  k3_scatter_add                         39    20     4     4    4        16  20992    21
  k4_scatter_add                         40    48     4     4   16        16    512    57
  k5_scatter_add                         64    20     4     4   16        16  21248    21
  k6_scatter_add                         39    20     4     4    4        16  20992    21
  k7_scatter_add                         40    48     4     4   16        16    512    57
  k8_scatter_add                         64    20     4     4   16        16  21248    21
  k9_scatter_add                         39    20     4     4    4        16  20992    21
  k10_scatter_add                        40    48     4     4   16        16    512    57
  k11_scatter_add                        64    20     4     4   16        16  21248    21
  k12_scatter_add                        39    20     4     4    4        16  20992    21
  k13_scatter_add                        40    48     4     4   16        16    512    57
  k14_scatter_add                        64    20     4     4   16        16  21248    21
  k15_scatter_add                        39    20     4     4    4        16  20992    21
  k16_scatter_add                        40    48     4     4   16        16    512    57
  k17_scatter_add                        64    20     4     4   16        16  21248    21
  k18_scatter_add                        14    64     4     4    0         4      0     0
  k19_scatter_add                        40    50     4     4    0         8      0    87
  k20_scatter_add                        64    32     4     4    0        53      0     0
  k21_scatter_add                        64    32     4     4    0        16      0    78
  k22_mul                                14    64    16    16    0         1      0     0
scatter_add of numbers
  k0_scatter_add                          6    64     4     4    0         1      0     0
  k1_scatter_add                         18    64     8     8    0         2      0    27
  k2_scatter_add                         10    64     8     8    0         1      0     0
  k3_scatter_add                         25    64     4     4    4         4  10240   135
  k4_scatter_add                         32    64     4     4    4        16   1024   136
cumsum down rows
  k0_cumsum                              16    64    16    16    0         1      0     0
  k1_cumsum                              30    64     4     4    0         9      0    36
  k2_cumsum                              29    64     4     4    4         7   2048     0
  k3_cumsum                              30    64     4     4    4         6   2048    62
  k4_cumsum                              46    40     4     4    4        16   2304   290
MLP step 784-512-10
LSTM step, 256 units
  k4_scan_dot_add_add_sigmoid_sigmoi    104    16     4     4    0        80      0   240  calls in
          loops: 5
  k14_scan_add_mul_mul_sub_mul_add_m    107    16     4     4    0        64      0   165
LSTM step, 64 units
  k4_scan_dot_add_add_sigmoid_sigmoi    126    16     4     4    0       106      0   240  calls in
          loops: 5
  k14_scan_add_mul_mul_sub_mul_add_m    115    16     4     4    0        64      0   185
running sum by scan
gradient of a running sum by scan
1000 steps of oscillators
  k2_scan_sin_neg_mul_sub_mul_add_mu     24    64     4     4    0         2      0   168
Kalman filter of 4 numbers
  k3_scan_mul_sum_dot_dot_add_mul_su     54    32     4     4    0         9      0   175  calls in
          loops: 1
relu of dot 4096x4096x4096, bf16
  k0_cast_cast_dot_cast_cast_relu_ca    127    16     2     4    4        16  49152   345  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot 8x4096x4096, f16
  k0_cast_cast_dot_cast_cast_relu_ca     96    20     2     8    4        32  27648   307  HMMA 8,
          LDSM 6, LDGSTS 15
  k1_cast_cast_dot_cast_cast_relu_ca     24    64     4     2    0         8      0     0
relu of dot 4096x4096x4096, TF32
  k0_dot_relu                           121    16     4     8    4        16  49152   422  HMMA 32,
          LDSM 8, LDGSTS 12
relu of dot bf16, free
  k0_cast_cast_dot_cast_cast_relu_ca    111    16     2     8    4        16  24576   416  HMMA 16,
          LDSM 8, LDGSTS 12
  k1_cast_cast_dot_cast_cast_relu_ca     89    16     4     2    4         8   2048    39
  k2_cast_cast_dot_cast_cast_relu_ca    106    16     2     4    4        16  24576   426  HMMA 16,
          LDSM 8, LDGSTS 12
  k3_cast_cast_dot_cast_cast_relu_ca    128    16     2     4    4        16  49152   496  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot of transposed + bias, bf16
  k0_cast_cast_dot_cast_cast_cast_ad     96    20     4     4    4        16  24576   354  HMMA 16,
          LDSM 8, LDGSTS 12
conv2d of 256x56x56, 1x1
  k0_convolution                         91    16     4     4   16        12  12800   608
conv2d of 3x224x224, 7x7, stride 2
  k0_unslice_convolution                108    16     4     4   16         7  11200   633
conv2d of 128x56x56, 3x3, stride 2
  k0_unslice_convolution                127    16     4     4   16        15  14400   718
  k1_unslice_convolution                 68    16     4     4    4         8   2048    39
  k2_unslice_convolution                127    16     4     4   16        15  14400   711
conv2d of 128x56x56, 3x3, stride 2, by the image
  k0_convolution                         92    16     4     4   16        12  12800   609
  k1_unslice_convolution                 92    16     4     4   16        12  12800   613
  k2_unslice_convolution                 95    16     4     4   16        12  12800   613
  k3_unslice_unslice_convolution        128    16     4     4   16        12  12800   643  spills:
          8, stack 24
  k4_unslice_unslice_convolution         68    16     4     4    4         8   2048    39
  k5_unslice_unslice_convolution        103    16     4     4   16        12  12800   633
  k6_unslice_unslice_add_unslice_add     28    64     4     4    0         4      0     0
conv2d of 128x56x56, 3x3, stride 2, by the filters
  k0_unslice                             48    42     4    16    0         4      0     0
  k1_convolution                        128    16     4     4   16        12  11200   702
  k2_convolution                         64    32     4     4    4         8   1024    32
  k3_convolution                        128    16     4     4   16        12  11200   674
  k4_copy                                14    64     4     4    0         1      0     0
conv2d of 64x56x56, 3x3, dilation 2
  k0_unslice_convolution                127    16     4     4   16        15  14400   729
  k1_unslice_convolution                 68    16     4     4    4         8   2048    39
  k2_unslice_convolution                127    16     4     4   16        15  14400   718
conv2d of 128x28x28, 3x3, 4 groups
  k0_unslice_convolution                128    16     4     4   16        24  12096   852  spills:
          22, stack 32
  k1_unslice_convolution                 68    16     4     4    4         8   2048    39
  k2_unslice_convolution                126    16     4     4   16        24  12096   787
  k3_copy                                16    64    16    16    0         1      0     0
conv2d of 96x56x56, 3x3, 96 groups
  k0_unslice_mul_mul_add_mul_add_mul     40    48     4     4    0        16      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the image
  k0_unslice_unslice_mul_mul_add_mul     40    48     4     4    0        16      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the filters
  k0_unslice_mul_sum_mul_sum_mul_sum     51    32     4     4   16        10     32   135
  k1_unslice_mul_sum_mul_sum_mul_sum     64    32     4     4   16        20     32    99
  k2_unslice_mul_sum_mul_sum_mul_sum     56    32     4     4   16        10     32   127
  k3_concatenate                         14    64     4     4    0         9      0     0
  k4_copy                                 8    64     4     4    0         1      0     0
conv2d of 64 channels, 3x3, free
  k0_unslice_convolution                128    16     4     4   16        15  14400   768  spills:
          24, stack 48
  k1_unslice_convolution                 94    16     4     4    4         8   2048    39
  k2_unslice_convolution                128    16     4     4   16        15  14400   767
conv2d of 64 channels, 3x3, free, by the image
  k0_unslice_unslice_convolution        128    16     4     4   16        15  14400   793  spills:
          6, stack 16
  k1_unslice_unslice_convolution         94    16     4     4    4         8   2048    39
  k2_unslice_unslice_convolution        128    16     4     4   16        15  14400   789
conv2d of 64 channels, 3x3, free, by the filters
  k0_unslice                             48    42     4    16    0         4      0     0
  k1_convolution                        128    16     4     4   16        16   8704   972
  k2_convolution                         62    32     4     4    4         8   1024    26
  k3_convolution                        128    16     4     4   16        16   8704   910
  k4_copy                                14    64     4     4    0         1      0     0
conv1d of 64x4096, 5
  k0_unslice_convolution                127    16     4     4   16        11  16000   807
  k1_unslice_convolution                 64    32     4     4    4         8   2048    39
  k2_unslice_convolution                100    16     4     4   16        16  16000   798
conv3d of 32x16x28x28, 3x3x3
  k0_unslice_convolution                128    16     4     4   16        24  12096   812
  k1_unslice_convolution                 68    16     4     4    4         8   2048    39
  k2_unslice_convolution                128    16     4     4   16        19  12096   826  spills:
          6, stack 8
attention of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    168    12     2     4   16        32  33792  1314  HMMA 64,
          LDSM 40, LDGSTS 16
attention of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    127    16     4    16   16        32  37888   290
causal attention of 8x12x1024x64, bf16
  k0_cast_cast_dot_iota_iota_le_cast    168    12     2     4   16        32  33792  2110  HMMA 64,
          LDSM 40, LDGSTS 16
attention of heads of 128, f16, free
  k0_cast_cast_dot_cast_cast_mul_cas    207     8     2     4   16        56  37888  1082  HMMA 64,
          LDSM 42, LDGSTS 20
causal attention of heads of 64, f32, free
  k0_dot_iota_iota_le_mul_where_max_    127    16     4    16   16        32  37888   290
attention of 8x12x1024x64, f16, gradients
  k0_cast_cast_dot_cast_cast_mul_cas    168    12     2     4   16        32  33792  1314  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            17    64     4     4    0         6      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    222     8     4     4    4        32  32768   795  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    176     8     4     4    4        32  28672   717  HMMA 48,
          LDSM 34, LDGSTS 12
cumsum of 1e6
  k0_cumsum                              22    64     4     4    4         7  11264     0
  k1_cumsum                              15    64     4     4    4         2   2048     0
  k2_cumsum                              26    64     4     4    4         8  11268     0
cumsum of rows, free
  k0_cumsum                              16    64     4     4    0         1      0     0
  k1_cumsum                              32    64     4     4    0         9      0    36
  k2_cumsum                              21    64     4     4    4         6  11264     0
  k3_cumsum                              30    64     4     4    4         6   2048    63
  k4_cumsum                              49    32     4     4    4         8  11284   294
linear recurrence of 100000x16
  k0_linear_recurrence                   36    48     4     8    8        14   6144     0
  k1_linear_recurrence                   24    64     8     4    8         4   6144     0
  k2_linear_recurrence                   63    32     4     4    8        32   6208     0
update of an embedding
  k0_checked_index                       10    64     8     8    0         1      0     0
  k1_mul_add_at                          10    64     4     4    0         1      0     0
  k2_mul_add_at                          32    20     4     4    4        16  20992    21
  k3_mul_add_at                          31    64     4     4   16         1    512     0
  k4_mul_add_at                          56    20     4     4   16        16  21248    21
  k5_mul_add_at                          32    20     4     4    4        16  20992    21
  k6_mul_add_at                          31    64     4     4   16         1    512     0
  k7_mul_add_at                          64    20     4     4   16        16  21248    21
  k8_mul_add_at                          32    20     4     4    4        16  20992    21
  k9_mul_add_at                          31    64     4     4   16         1    512     0
  k10_mul_add_at                         64    20     4     4   16        16  21248    21
  k11_mul_add_at                         12    64     4     4    0         2      0     0
  k12_mul_add_at                         34    50     4     4    0         8      0    71
  k13_mul_add_at                         63    32     4     4    0        54      0     0
  k14_mul_add_at                         56    36     4     4    0        16      0    45
argsort of 1e6
  k0_argsort                             20    64    16    16    0         1      0     0
  k1_argsort                             48    16     8     4    4        16  25344    21
  k2_argsort                             28    64     4     4   16         4    512    21
  k3_argsort                             64    16     8     8   16        16  25600    21
  k4_argsort                             48    16     8     4    4        16  25344    21
  k5_argsort                             28    64     4     4   16         4    512    21
  k6_argsort                             64    16     8     8   16        16  25600    21
  k7_argsort                             48    16     8     4    4        16  25344    21
  k8_argsort                             28    64     4     4   16         4    512    21
  k9_argsort                             64    16     8     8   16        16  25600    21
  k10_argsort                            48    16     8     4    4        16  25344    21
  k11_argsort                            28    64     4     4   16         4    512    21
  k12_argsort                            64    16     8     8   16        16  25600    21
  k13_argsort                            48    16     8     4    4        16  25344    21
  k14_argsort                            28    64     4     4   16         4    512    21
  k15_argsort                            64    16     8     8   16        16  25600    21
  k16_argsort                            48    16     8     4    4        16  25344    21
  k17_argsort                            28    64     4     4   16         4    512    21
  k18_argsort                            64    16     8     8   16        16  25600    21
  k19_argsort                            14    64     4    16    0         2      0     0
sort of 1000x1000
  k0_sort                                24    64    16    16    0         1      0     0
  k1_sort                                48    16     8     4    4        16  25344    21
  k2_sort                                10    64     4     4    0         1      0     0
  k3_sort                                64    16     8     8   16        16  25600    21
  k4_sort                                48    16     8     4    4        16  25344    21
  k5_sort                                10    64     4     4    0         1      0     0
  k6_sort                                64    16     8     8   16        16  25600    21
  k7_sort                                48    16     8     4    4        16  25344    21
  k8_sort                                10    64     4     4    0         1      0     0
  k9_sort                                64    16     8     8   16        16  25600    21
  k10_sort                               48    16     8     4    4        16  25344    21
  k11_sort                               10    64     4     4    0         1      0     0
  k12_sort                               64    16     8     8   16        16  25600    21
  k13_sort                               48    16     8     4    4        16  25344    21
  k14_sort                               10    64     4     4    0         1      0     0
  k15_sort                               64    16     8     8   16        16  25600    21
  k16_sort                               48    16     8     4    4        16  25344    21
  k17_sort                               10    64     4     4    0         1      0     0
  k18_sort                               64    16     8     8   16        16  25600    21
  k19_sort                               20    64    16    16    0         4      0     0
sort of 10000x100
  k0_sort                                24    64    16    16    0         1      0     0
  k1_sort                                61    32     8     8    0        25      0     0
attention step of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    168    12     4     4   16        32  33792  1314  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            17    64     4     4    0         6      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    222     8     4     4    4        32  32768   795  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    176     8     4     4    4        32  28672   717  HMMA 48,
          LDSM 34, LDGSTS 12
attention step of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    126    16    16    16   16        32  37888   290
  k1_sum                                 16    64     8     4    0         6      0     0
  k2_dot_mul_sub_exp_mul_dot_sub_mul    117    16     4    16   16        64  44288   288
  k3_dot_mul_sub_exp_mul_dot_sub_mul    128    16     4    16   16        64  44288   288
attention step of heads of 128, bf16
  k0_cast_cast_dot_cast_cast_mul_cas    208     8     4     4   16        64  37888  1220  HMMA 64,
          LDSM 42, LDGSTS 20
  k1_cast_sum                            19    64     8     4    0         8      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    255     8     4     4    4        64  36864  1898  HMMA 128,
          LDSM 84, LDGSTS 32
  k3_cast_cast_dot_cast_cast_mul_cas    234     8     4     4    4        64  34816  1604  HMMA 96,
          LDSM 66, LDGSTS 32
attention of 12 heads that share 4 keys, f16
  k0_cast_cast_dot_cast_cast_mul_cas    168    12     2     4   16        32  33792  1315  HMMA 64,
          LDSM 40, LDGSTS 16
)golden");
}
