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
      // Divisions, of sigmoids and of gains.
      {"LSTM step, 256 units", {calls_in_loops}},
      {"LSTM step, 64 units", {calls_in_loops}},
      {"Kalman filter of 4 numbers", {calls_in_loops}},
      // Divisions by what differs from element to element.
      {"batch norm", {calls_in_loops}},
      {"batch norm, gradients", {calls_in_loops}},
      {"batch norm of pictures, with gradients", {calls_in_loops}},
      // Sums of a block of 512 products, as many of all blocks before it, and places of slices fill
      // the registers. What of the second is in memory is looked at once for a block.
      {"conv2d of 128x56x56, 3x3, stride 2", {sums_in_memory, {100}}},
      {"conv2d of 128x28x28, 3x3, 4 groups", {sums_in_memory}},
      {"conv2d of 64 channels, 3x3, free", {sums_in_memory, {100}}},
      {"conv2d of 64 channels, 3x3, free, by the image", {sums_in_memory, {100}}},
      {"conv2d of 64 channels, 3x3, free, by the filters", {sums_in_memory, {100}}},
      {"conv1d of 64x4096, 5", {sums_in_memory}},
      {"conv3d of 32x16x28x28, 3x3x3", {sums_in_memory, {100}}},
      {"attention step of 8x12x1024x64, f32", {sums_in_memory, {80, 90}}},
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
  k0_add_relu_mul                        18    64    16    16    0         2      0     0
tanh of 1e7
  k0_tanh                                20    64    16    16    0         1      0     0
exp, f64
  k0_exp_mul                             24    64    16    16    0         1      0     0
bias, free
  k0_mul                                 24    64    16    16    0         5      0     0
transpose of 4096x4096
  k0_copy                                30    64     4     4    4         4   4224     0
x + transpose(y), free
  k0_add                                 32    64     4     4    4         6   4224     0
concatenate
  k0_mul_concatenate                     14    64     4     4    0         1      0     0
softmax of 1000x1000
  k0_max_sub_exp_sum_div_mul             26    64    16    16    4         5     32    75
softmax of 8x1e6
  k0_max_sub_exp_sum_div_mul             32    64     4     4    4        32     32    75
  k1_max_sub_exp_sum_div_mul             28    32     4     4    0        15      0     0
  k2_max_sub_exp_sum_div_mul             22    64    16    16    0         2      0     0
softmax, free
  k0_max_sub_exp_sum_div_mul             32    64     4     4    4        32     32    75
  k1_max_sub_exp_sum_div_mul             31    64     4     4    4        16     32   131
  k2_max_sub_exp_sum_div_mul             25    64    16    16    0         3      0     0
  k3_max_sub_exp_sum_div_mul             31    64    16    16    0        10      0     0
  k4_max_sub_exp_sum_div_mul             51    36    16    16    0        20      0     0
  k5_max_sub_exp_sum_div_mul             48    40    16    16    4        20     32    75
  k6_max_sub_exp_sum_div_mul             31    64     4     4    4        16     32    93
log_softmax of 8192x128
  k0_max_sub_exp_sum_log_sub             21    64    16    16    0         5      0     0
sum of rows, free
  k0_sum                                 47    40     4     4    4        16     32    43
  k1_sum                                 39    48     4     4    4        16     32    43
  k2_sum                                 39    48     4     4    0        16      0    37
  k3_sum                                 39    48     4     4    4        16     32    43
softmax of 1e6x24
  k0_max_sub_exp_sum_div_mul             40    48    16    16    0        15      0     0
softmax of 1e6x32
  k0_max_sub_exp_sum_div_mul             19    64    16    16    0         5      0     0
layer norm of 1e6x48
  k0_sum_div_sub_mul_sum_div_add_sqr     38    48    16    16    0        15      0     0
softmax of 1e6x10
  k0_max_sub_exp_sum_div_mul             40    50     4     4    4        10   5632     0
argmax of rows, free
  k0_argmax                              24    64     4     8   16         4     96    80
  k1_argmax                              20    64     8     8   16         2     96    65
  k2_argmax                              21    64     4     8    0         4      0    73
  k3_argmax                              23    64     4     8   16         4     96    75
mean of rows, f64
  k0_sum_size_div                        61    32     8     8    8        16     64    43
  k1_sum_size_div                        53    32     8     8    8        16     64    43
  k2_sum_size_div                        55    36     8     8    0        16      0    37
  k3_sum_size_div                        52    32     8     8    8        16     64    43
layer norm
  k0_sum_div_sub_mul_sum_div_add_sqr     29    64    16    16   16        10     32    26
layer norm, gradients
  k0_mul_sum_div_sub_mul_sum_div_add     32    64    16    16    4        12     32    43
  k1_sub_mul_mul_sum_sum                 48    32     4     4    4        16   4096    57
  k2_sub_mul_mul_sum_sum                 56    32     4     4    4        32   8192    87
  k3_sub_mul_mul_sum_sum                 46    32     4     4    4        16   8192    51
sum of all, free
  k0_sum                                 40    48     4     4    4        16     32    43
  k1_sum                                 39    48     4     4    4        16     32    43
  k2_sum                                 39    48     4     4    4        16     32    43
argmax of all, free
  k0_argmax                              22    64     4     8   16         4     96    80
  k1_argmax                              20    64     8     8   16         2     96    65
  k2_argmax                              22    64     4     8   16         4     96    74
softmax of all, free
  k0_max_sub_exp_sum                     32    64     4     4   16        16     32    69
  k1_max_sub_exp_sum                     18    64     4     4   16         4     32    58
  k2_max_sub_exp_sum                     38    48     4     4    4         4     32    95
  k3_max_sub_exp_sum                     39    48     4     4    4        16     32    43
  k4_max_sub_exp_sum                     32    64     4     4    4        16     32    95
  k5_div_mul                             17    64    16    16    0         1      0     0
sum of columns of 1e6x8
  k0_sum                                 40    48     4     4    4        16   1024    50
  k1_sum                                 40    32     4     4    4        16   4096    50
sum of columns, free
  k0_sum                                 39    48     4     4    4         4   2048    17
  k1_sum                                 48    32     4     4    4        16   2048    62
  k2_sum                                 48    32     4     4    4        16   2048    62
sum of 512 columns
  k0_sum                                 40    48     4     4    4         4   2048    17
  k1_sum                                 40    32     4     4    4        16   4096    50
  k2_sum                                 40    32     4     4    4        16   4096    50
softmax of columns, free
  k0_max_sub_exp_sum_div_mul             48    40     4     4    4        20   2560     0
  k1_max_sub_exp_sum_div_mul             52    32     4     4    4        16   4096   148
  k2_max_sub_exp_sum_div_mul             26    64    16    16    0         3      0     0
  k3_max_sub_exp_sum_div_mul             45    40     4     4    4        20   2560     0
  k4_max_sub_exp_sum_div_mul             63    32     4     4    4        44   8704     0
sum of channels
  k0_sum                                 48    40     4     4    4        16     32   132
  k1_sum                                 40    32     4     4    4        16   4096    50
  k2_sum                                 48    40     4     4    4        16     32   132
softmax of columns of 4096x4096
  k0_max_sub_exp_sum_div_mul             64    32     4     4    4        31   8704     0
argmax of columns of 4096x4096
  k0_argmax                              58    32     4     8    8         4   6144    71
  k1_argmax                              20    64     8     8    0         8      0     0
mean, variance and extremes of columns
  k0_sum_div_sub_mul_sum_div_max_min     64    32     4     4    4        29  17408     0  spills:
          12, stack 24
log_softmax over 64 channels
  k0_max_sub_exp_sum_log_sub             63    32     4     4    4        16   1024     0
batch norm
  k0_sum_size_div_sub_size_lt_mul_su     39    48     4     4    4        24   2560     0
  k1_sum_size_div_sub_size_lt_mul_su     45    32     4     4    4        16   4096   133  calls in
          loops: 7
  k2_sum_size_div_sub_size_lt_mul_su     37    48     4     4    4        32   2560     0
  k3_sum_size_div_sub_size_lt_mul_su     52    32     4     4    4        60   8704     0
  k4_sub_mul_mul_add                     30    64    16    16    0         5      0     0
batch norm, gradients
  k0_size_lt_sum_size_div_sub_mul_su     56    32     4     4    4        56   5120     0
  k1_size_lt_sum_size_div_sub_mul_su     64    32     4     4    4        32   8192   158  calls in
          loops: 7
  k2_size_lt_sum_size_div_sub_mul_su     23    64     4     4    0         2      0     0
  k3_size_lt_sum_size_div_sub_mul_su     60    32     4     4    4        64   5120     0
  k4_size_lt_sum_size_div_sub_mul_su     63    32     4     4    4        65  17408     0
batch norm of pictures, with gradients
  k0_sum_size_div_sub_size_lt_mul_su     63    32     4     4    4        56     32    43
  k1_sum_size_div_sub_size_lt_mul_su     64    32     4     4    4        32   8192   155  calls in
          loops: 7
  k2_sum_size_div_sub_size_lt_mul_su     23    64     4     4    0         2      0     0
  k3_sum_size_div_sub_size_lt_mul_su     40    48     4     4    4         8     32    74
  k4_sub_mul_add                         22    64    16    16    0         5      0     0
mean cross entropy of 8192x1000
  k0_max_sub_exp_sum_log_pick_sub        25    64    16     8    4         5     32    75
  k1_sum_div                             31    64    16     4   16        16     64    26
relu of dot 4096x4096x4096
  k0_dot_relu                           189     8     4    16   16         8   8448   587
relu of dot 64x16384x64
  k0_dot_relu                            79    24     4    16   16         8   8704   330
  k1_dot_relu                            26    64     4     4    4         4   4096     0
relu of dot 128x784x512
  k0_dot_relu                            77    24     4    16   16         8   8704   344
  k1_dot_relu                            20    64     4     4    0         7      0     0
relu of dot 1024x1024x1024, f64
  k0_dot_relu                           126    16     8    16   16         8  17408   368
relu of dot 4096x512x10
  k0_dot_relu                            78    24     4     4   16         5   5632   129
  k1_dot_relu                            16    64     4     4    0         4      0     0
relu of dot + bias, free
  k0_dot_add_relu                       105    16     4    16   16         8   8704   385
  k1_dot_add_relu                        38    48     4     4    4         4   2048    17
  k2_dot_add_relu                       103    16    16    16   16         8   8704   380
  k3_dot_add_relu                       225     8    16    16   16         8   8448   639
relu of dot + bias, free, with the library
  k0_dot_add_relu                       217     8     4    16   16         8   8448   640
  k1_dot_add_relu                        24    64    16    16    0         5      0     0
  k2_dot_add_relu                       105    16     4    16   16         8   8704   385
  k3_dot_add_relu                        38    48     4     4    4         4   2048    17
  k4_dot_add_relu                       103    16    16    16   16         8   8704   380
  k5_dot_add_relu                       225     8    16    16   16         8   8448   639
relu of dot of transposed, free
  k0_dot_relu                           105    16     4    16   16         8   8704   385
  k1_dot_relu                            38    48     4     4    4         4   2048    17
  k2_dot_relu                           103    16     4    16   16         8   8704   376
  k3_dot_relu                           223     8     4    16   16         8   8448   640
exp of matmul of a batch
  k0_dot_exp                             77    24     4    16   16         8   8704   339
  k1_dot_exp                            128    16     4    16   16         8   8448   610
dot of matrix and vector
  k0_mul_sum                             41    40    16     4   16        40     32    26
conv2d of 64x56x56, 3x3
  k0_unslice_convolution                128    16     4    16   16        15  14400   762  spills:
          2, stack 8
  k1_unslice_convolution                 40    48     4     4    4         4   2048    17
  k2_unslice_convolution                127    16     4    16   16        15  14400   750
conv2d, gradient of the image
  k0_unslice_unslice_convolution        128    16     4    16   16        15  14400   773
  k1_unslice_unslice_convolution         40    48     4     4    4         4   2048    17
  k2_unslice_unslice_convolution        128    16     4    16   16        15  14400   757
conv2d, gradient of the filters
  k0_unslice                             27    64     4    16    0         4      0     0
  k1_convolution                        128    16     4    16   16        16   7616   644
  k2_convolution                         40    48     4     4    4        16   1024    47
  k3_convolution                        128    16     4     4   16        16   7616   642
  k4_copy                                12    64     4     4    0         1      0     0
gather, free
  k0_take                                12    64     8     8    0         1      0     0
scatter_add, free
  k0_scatter_add                          8    64     4    16    0         1      0     0
  k1_scatter_add                         26    64     8     8    4         2   8704    11
  k2_scatter_add                         10    64     8     8    0         1      0     0
  k3_scatter_add                        116    16     8     8    8        16   4104   137
  k4_scatter_add                         96    16     8     8   16         7  38984   324
  k5_scatter_add                         96    16     8     8   16        16  38984   324
  k5_scatter_add                         96    16     8     8   16        16  38984   324
  k5_scatter_add                         96    16     8     8   16        16  38984   324
  k8_scatter_add                        128    16     8     8    8         3   4232   138
  k9_mul                                 14    64    16    16    0         1      0     0
scatter_add of numbers
  k0_scatter_add                          8    64     4     4    0         1      0     0
  k1_scatter_add                         18    64     8     8    0         2      0    26
  k2_scatter_add                         12    64     8     8    0         1      0     0
  k3_scatter_add                         24    64     4     4    4         2  10240   144
  k4_scatter_add                         22    64     4     4    4         4   1024    26
cumsum down rows
  k0_cumsum                              15    64    16    16    0         1      0     0
  k1_cumsum                              25    64     4     4    0         5      0    22
  k2_cumsum                             121    16     8     8    8        16   2184   282
MLP step 784-512-10
LSTM step, 256 units
  k3_scan_dot_add_add_sigmoid_sigmoi     48    32     4     4    0        32      0   231  calls in
          loops: 5
  k4_scan_dot_add_add_sigmoid_sigmoi    112    16     4     4   16        72  41984   360  calls in
          loops: 5
  k5_scan_dot_add_add_sigmoid_sigmoi     95    20     4     8    8        24  14336   532  calls in
          loops: 5
  k13_scan_add_mul_mul_sub_mul_add_m     62    32     4     4    0        32      0   119
  k14_scan_add_mul_mul_sub_mul_add_m     78    24     4    16   16        32  35328   109
  k15_scan_add_mul_mul_sub_mul_add_m    105    16     4     8    8        24  14336   508
LSTM step, 64 units
  k3_scan_dot_dot_add_add_sigmoid_si     89    16     4     4    0        64      0   229  calls in
          loops: 5
  k4_scan_dot_add_add_sigmoid_sigmoi     89    20     4     4   16        24  17408   689  calls in
          loops: 5
  k5_scan_dot_add_add_sigmoid_sigmoi     72    28     4     8    8        24  14336   534  calls in
          loops: 5
  k13_scan_add_mul_mul_sub_mul_add_m     88    16     4     4    0        64      0   155
  k14_scan_add_mul_mul_sub_mul_add_m     80    24     4    16   16        32  18944   973
  k15_scan_add_mul_mul_sub_mul_add_m     96    20     4     8    8        24  14336   532
running sum by scan
gradient of a running sum by scan
1000 steps of oscillators
  k1_scan_sin_neg_mul_sub_mul_add_mu     21    64     4     4    0         2      0   126
Kalman filter of 4 numbers
  k1_scan_mul_sum_mul_dot_dot_add_mu    107    18     4     4    0        73      0   463  calls in
          loops: 4
relu of dot 4096x4096x4096, bf16
  k0_cast_cast_dot_cast_cast_relu_ca    123    16     2     4    4        16  49152   274  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot 4096x4096x4096, bf16, with the library
  k0_cast_cast_dot_cast_cast_relu_ca    124    16     2     8    4        16  49152   278  HMMA 32,
          LDSM 12, LDGSTS 12
  k1_cast_cast_dot_cast_cast_relu_ca     21    64    16    16    0         2      0     0
relu of dot 8x4096x4096, f16
  k0_cast_cast_dot_cast_cast_relu_ca     80    24     2     8    4        32  27648   267  HMMA 8,
          LDSM 6, LDGSTS 15
  k1_cast_cast_dot_cast_cast_relu_ca     22    64     4     2    0         8      0     0
relu of dot 4096x4096x4096, TF32
  k0_dot_relu                           124    16     4     8    4        18  49152   442  HMMA 32,
          LDSM 8, LDGSTS 12
relu of dot bf16, free
  k0_cast_cast_dot_cast_cast_relu_ca     98    16     2     8    4        16  24576   318  HMMA 16,
          LDSM 8, LDGSTS 12
  k1_cast_cast_dot_cast_cast_relu_ca     38    48     4     2    4         4   2048    17
  k2_cast_cast_dot_cast_cast_relu_ca     96    20     2     4    4        16  24576   310  HMMA 16,
          LDSM 8, LDGSTS 12
  k3_cast_cast_dot_cast_cast_relu_ca    126    16     2     4    4        16  49152   345  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot of transposed + bias, bf16
  k0_cast_cast_dot_cast_cast_cast_ad     95    20     4     4    4        16  24576   262  HMMA 16,
          LDSM 8, LDGSTS 12
conv2d of 256x56x56, 1x1
  k0_convolution                         95    16     4    16   16        12  12800   619
conv2d of 3x224x224, 7x7, stride 2
  k0_unslice_convolution                103    16     4    16   16        11  11200   620
conv2d of 128x56x56, 3x3, stride 2
  k0_unslice_convolution                128    16     4    16   16        15  14400   743
  k1_unslice_convolution                 40    48     4     4    4         4   2048    17
  k2_unslice_convolution                127    16     4    16   16        15  14400   745
conv2d of 128x56x56, 3x3, stride 2, by the image
  k0_convolution                         95    16     4    16   16        12  12800   621
  k1_unslice_convolution                 95    16     4     4   16        12  12800   627
  k2_unslice_convolution                 96    16     4    16   16        12  12800   625
  k3_unslice_unslice_convolution        127    16     4    16   16        12  12800   672
  k4_unslice_unslice_convolution         40    48     4     4    4         4   2048    17
  k5_unslice_unslice_convolution         95    16     4     4   16        12  12800   633
  k6_unslice_unslice_add_unslice_add     21    64     4     4    0         4      0     0
conv2d of 128x56x56, 3x3, stride 2, by the filters
  k0_unslice                             30    64     4    16    0         4      0     0
  k1_convolution                        128    16     4    16   16        12  11200   651
  k2_convolution                         40    48     4     4    4        16   1024    63
  k3_convolution                        128    16     4     4   16        12  11200   652
  k4_copy                                12    64     4     4    0         1      0     0
conv2d of 64x56x56, 3x3, dilation 2
  k0_unslice_convolution                128    16     4    16   16        15  14400   762  spills:
          2, stack 8
  k1_unslice_convolution                 40    48     4     4    4         4   2048    17
  k2_unslice_convolution                127    16     4    16   16        15  14400   750
conv2d of 128x28x28, 3x3, 4 groups
  k0_unslice_convolution                126    16     4    16   16        24  12096   763  spills:
          40, stack 32
  k1_unslice_convolution                 40    48     4     4    4         4   2048    17
  k2_unslice_convolution                111    16     4    16   16        24  12096   780
  k3_copy                                15    64    16    16    0         1      0     0
conv2d of 96x56x56, 3x3, 96 groups
  k0_unslice_mul_mul_add_mul_add_mul     36    48     4     4    0        27      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the image
  k0_unslice_unslice_mul_mul_add_mul     36    48     4     4    0        27      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the filters
  k0_unslice_mul_sum_mul_sum_mul_sum     56    32     4     4    4        10     32    83
  k1_unslice_mul_sum_mul_sum_mul_sum     64    32     4     4    4        27     32    94
  k2_unslice_mul_sum_mul_sum_mul_sum     56    32     4     4    4        10     32    59
  k3_concatenate                         12    64     4     4    0         1      0     0
  k4_copy                                10    64     4     4    0         1      0     0
conv2d of 64 channels, 3x3, free
  k0_unslice_convolution                127    16     4    16   16        15  14400   772
  k1_unslice_convolution                 40    48     4     4    4         4   2048    17
  k2_unslice_convolution                128    16     4     4   16        15  14400   765
conv2d of 64 channels, 3x3, free, by the image
  k0_unslice_unslice_convolution        128    16     4    16   16        15  14400   785
  k1_unslice_unslice_convolution         40    48     4     4    4         4   2048    17
  k2_unslice_unslice_convolution        128    16     4     4   16        15  14400   774
conv2d of 64 channels, 3x3, free, by the filters
  k0_unslice                             32    64     4    16    0         4      0     0
  k1_convolution                        128    16     4    16   16        16   8704   760
  k2_convolution                         40    48     4     4    4        16   1024    47
  k3_convolution                        127    16     4     4   16        16   8704   766
  k4_copy                                12    64     4     4    0         1      0     0
conv1d of 64x4096, 5
  k0_unslice_convolution                128    16     4    16   16        16  16000   823  spills:
          60, stack 48
  k1_unslice_convolution                 40    48     4     4    4         4   2048    17
  k2_unslice_convolution                107    16     4    16   16        16  16000   816
conv3d of 32x16x28x28, 3x3x3
  k0_unslice_convolution                128    16     4    16   16        24  12096   806
  k1_unslice_convolution                 40    48     4     4    4         4   2048    17
  k2_unslice_convolution                127    16     4    16   16        24  12096   795
attention of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    145    12     2     4   16        32  33792  1422  HMMA 64,
          LDSM 40, LDGSTS 16
attention of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    103    16     4    16   16        32  37888   300
causal attention of 8x12x1024x64, bf16
  k0_iota_iota_le_cast_cast_dot_cast    159    12     2     4   16        32  33792  2161  HMMA 64,
          LDSM 40, LDGSTS 16
attention of heads of 128, f16, free
  k0_cast_cast_dot_cast_cast_mul_cas    189     8     2     4   16        64  37888  1114  HMMA 64,
          LDSM 42, LDGSTS 20
causal attention of heads of 64, f32, free
  k0_iota_iota_le_dot_mul_where_max_    110    16     4    16   16        32  37888   288
attention of 8x12x1024x64, f16, gradients
  k0_cast_cast_dot_cast_cast_mul_cas    168    12     2     4   16        32  33792  1422  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            26    64    16     4    0        16      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    240     8     4     4    4        32  32768   850  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    180     8     4     4    4        32  28672   779  HMMA 48,
          LDSM 34, LDGSTS 12
cumsum of 1e6
  k0_cumsum                              87    16     8     8    8         8  11288   300
cumsum of rows, free
  k0_cumsum                              10    64     4     4    0         1      0     0
  k1_cumsum                              31    64     4     4    0        17      0    59
  k2_cumsum                              95    16     8     8    8         8  11288   197
linear recurrence of 100000x16
  k0_linear_recurrence                  112    16     8     8    8        18   6216   319
update of an embedding
  k0_checked_index                       12    64     8     8    0         1      0     0
  k1_mul_add_at                          10    64     4     4    0         1      0     0
  k2_mul_add_at                          96    16     8     8    8        16   2056   137
  k3_mul_add_at                          88    16     8     8   16         7  38984   331
  k4_mul_add_at                          88    16     8     8   16        16  38984   331
  k5_mul_add_at                          95    16     8     8    8         6   4232   213
argsort of 1e6
  k0_argsort                            110    16     8     8    8        16   4104   213
  k1_argsort                             96    16     8     8   16         7  38984   331
  k2_argsort                             96    16     8     8   16        14  38984   331
  k2_argsort                             96    16     8     8   16        14  38984   331
  k4_argsort                             96    16     8     8   16        14  38984   331
sort of 1000x1000
  k0_sort                                50    32     4     4   16         4  23616   239
sort of 10000x100
  k0_sort                                50    32     4     4   16         4   2952   189
sort of 100000x16
  k0_sort                                26    64     4     4   16         1   2048     0
first 5 of 64x50000
  k0_argtopk                             71    24     4     4   16         8  36928   322
  k1_argtopk                             56    32     4     8   16         8   3592   198
argsort of rows, free
  k0_argsort                             22    64     4     8    4         1   2048    30
  k1_argsort                             70    24     4     8   16         8  36928   333
  k2_argsort                            127    16     8     8    8        14   4104   309
  k3_argsort                             96    16     8     8   16         9  38984   324
  k4_argsort                             96    16     8     8   16        17  38984   324
  k4_argsort                             96    16     8     8   16        17  38984   324
  k6_argsort                             96    16     8     8   16        17  38984   324
attention step of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    168    12     4     4   16        32  33792  1423  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            26    64    16     4    0        16      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    240     8     4     4    4        32  32768   850  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    180     8     4     4    4        32  28672   779  HMMA 48,
          LDSM 34, LDGSTS 12
attention step of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    109    16    16    16   16        32  37888   299
  k1_sum                                 17    64    16     4    0        10      0     0
  k2_dot_mul_sub_exp_mul_dot_sub_mul    117    16     4    16   16        73  44288   317
  k3_dot_mul_sub_exp_mul_dot_sub_mul    128    16     4    16   16        64  44288   322  spills:
          3, stack 8
attention step of heads of 128, bf16
  k0_cast_cast_dot_cast_cast_mul_cas    183     8     4     4   16        64  37888  1238  HMMA 64,
          LDSM 42, LDGSTS 20
  k1_cast_sum                            26    64    16     4    0        16      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    255     8     4     4    4        64  36864  2000  HMMA 128,
          LDSM 84, LDGSTS 32
  k3_cast_cast_dot_cast_cast_mul_cas    242     8     4     4    4        64  34816  1849  HMMA 96,
          LDSM 66, LDGSTS 32
attention of 12 heads that share 4 keys, f16
  k0_cast_cast_dot_cast_cast_mul_cas    168    12     2     4   16        32  33792  1448  HMMA 64,
          LDSM 40, LDGSTS 16
CIFAR-10 step, Adam
transformer step, bf16, Adam
)golden");
}

TEST_CASE("golden: the code of canonical kernels, sm_80") {
  if (left_out(80, false)) return;
  check_golden("sm_80", table(80), R"golden(
kernel                                 regs warps  load store  lds in-flight shared  loop
elementwise, free
  k0_add_relu_mul                        16    64    16    16    0         2      0     0
tanh of 1e7
  k0_tanh                                19    64    16    16    0         1      0     0
exp, f64
  k0_exp_mul                             24    64    16    16    0         1      0     0
bias, free
  k0_mul                                 22    64    16    16    0         5      0     0
transpose of 4096x4096
  k0_copy                                26    64     4     4    4         4   4224     0
x + transpose(y), free
  k0_add                                 30    64     4     4    4         6   4224     0
concatenate
  k0_mul_concatenate                     12    64     4     4    0         1      0     0
softmax of 1000x1000
  k0_max_sub_exp_sum_div_mul             26    64    16    16    4         5     32    75
softmax of 8x1e6
  k0_max_sub_exp_sum_div_mul             32    64     4     4    4        32     32    75
  k1_max_sub_exp_sum_div_mul             28    32     4     4    0        15      0     0
  k2_max_sub_exp_sum_div_mul             22    64    16    16    0         2      0     0
softmax, free
  k0_max_sub_exp_sum_div_mul             32    64     4     4    4        32     32    75
  k1_max_sub_exp_sum_div_mul             31    64     4     4    4        16     32   133
  k2_max_sub_exp_sum_div_mul             25    64    16    16    0         3      0     0
  k3_max_sub_exp_sum_div_mul             32    64    16    16    0        10      0     0
  k4_max_sub_exp_sum_div_mul             49    36    16    16    0        20      0     0
  k5_max_sub_exp_sum_div_mul             43    40    16    16    4        36     32    75
  k6_max_sub_exp_sum_div_mul             30    64     4     4    4        16     32    91
log_softmax of 8192x128
  k0_max_sub_exp_sum_log_sub             21    64    16    16    0         5      0     0
sum of rows, free
  k0_sum                                 47    40     4     4    4        16     32    43
  k1_sum                                 39    48     4     4    4        16     32    43
  k2_sum                                 39    48     4     4    0        16      0    37
  k3_sum                                 39    48     4     4    4        16     32    43
softmax of 1e6x24
  k0_max_sub_exp_sum_div_mul             39    48    16    16    0        15      0     0
softmax of 1e6x32
  k0_max_sub_exp_sum_div_mul             20    64    16    16    0         5      0     0
layer norm of 1e6x48
  k0_sum_div_sub_mul_sum_div_add_sqr     40    48    16    16    0        15      0     0
softmax of 1e6x10
  k0_max_sub_exp_sum_div_mul             40    50     4     4    4        10   5632     0
argmax of rows, free
  k0_argmax                              24    64     4     8   16         4     96    80
  k1_argmax                              20    64     8     8   16         2     96    65
  k2_argmax                              21    64     4     8    0         4      0    73
  k3_argmax                              23    64     4     8   16         4     96    74
mean of rows, f64
  k0_sum_size_div                        61    32     8     8    8        16     64    43
  k1_sum_size_div                        53    32     8     8    8        16     64    43
  k2_sum_size_div                        56    36     8     8    0        16      0    37
  k3_sum_size_div                        54    32     8     8    8        16     64    43
layer norm
  k0_sum_div_sub_mul_sum_div_add_sqr     30    64    16    16   16        10     32    26
layer norm, gradients
  k0_mul_sum_div_sub_mul_sum_div_add     32    64    16    16    4        11     32    43
  k1_sub_mul_mul_sum_sum                 48    32     4     4    4        16   4096    53
  k2_sub_mul_mul_sum_sum                 56    32     4     4    4        32   8192    86
  k3_sub_mul_mul_sum_sum                 47    32     4     4    4        16   8192    48
sum of all, free
  k0_sum                                 40    48     4     4    4        16     32    43
  k1_sum                                 39    48     4     4    4        16     32    43
  k2_sum                                 39    48     4     4    4        16     32    43
argmax of all, free
  k0_argmax                              22    64     4     8   16         4     96    80
  k1_argmax                              20    64     8     8   16         2     96    65
  k2_argmax                              22    64     4     8   16         4     96    74
softmax of all, free
  k0_max_sub_exp_sum                     32    64     4     4   16        16     32    69
  k1_max_sub_exp_sum                     18    64     4     4   16         4     32    58
  k2_max_sub_exp_sum                     38    48     4     4    4         4     32    95
  k3_max_sub_exp_sum                     39    48     4     4    4        16     32    43
  k4_max_sub_exp_sum                     32    64     4     4    4        16     32    95
  k5_div_mul                             14    64    16    16    0         1      0     0
sum of columns of 1e6x8
  k0_sum                                 40    48     4     4    4        16   1024    50
  k1_sum                                 40    32     4     4    4        16   4096    50
sum of columns, free
  k0_sum                                 36    48     4     4    4         4   2048    19
  k1_sum                                 48    32     4     4    4        16   2048    62
  k2_sum                                 48    32     4     4    4        16   2048    62
sum of 512 columns
  k0_sum                                 38    48     4     4    4         4   2048    18
  k1_sum                                 40    32     4     4    4        16   4096    50
  k2_sum                                 40    32     4     4    4        16   4096    50
softmax of columns, free
  k0_max_sub_exp_sum_div_mul             46    40     4     4    4        20   2560     0
  k1_max_sub_exp_sum_div_mul             44    32     4     4    4        16   4096   149
  k2_max_sub_exp_sum_div_mul             26    64    16    16    0         3      0     0
  k3_max_sub_exp_sum_div_mul             46    40     4     4    4        20   2560     0
  k4_max_sub_exp_sum_div_mul             62    32     4     4    4        64   8704     0
sum of channels
  k0_sum                                 48    40     4     4    4        16     32   133
  k1_sum                                 40    32     4     4    4        16   4096    50
  k2_sum                                 44    40     4     4    4        16     32   133
softmax of columns of 4096x4096
  k0_max_sub_exp_sum_div_mul             64    32     4     4    4        32   8704     0
argmax of columns of 4096x4096
  k0_argmax                              56    32     4     8    8         4   6144    72
  k1_argmax                              20    64     8     8    0         8      0     0
mean, variance and extremes of columns
  k0_sum_div_sub_mul_sum_div_max_min     61    32     4     4    4        31  17408     0
log_softmax over 64 channels
  k0_max_sub_exp_sum_log_sub             64    32     4     4    4        16   1024     0
batch norm
  k0_sum_size_div_sub_size_lt_mul_su     38    48     4     4    4        28   2560     0
  k1_sum_size_div_sub_size_lt_mul_su     42    32     4     4    4        16   4096   132  calls in
          loops: 7
  k2_sum_size_div_sub_size_lt_mul_su     39    48     4     4    4        32   2560     0
  k3_sum_size_div_sub_size_lt_mul_su     53    32     4     4    4        60   8704     0
  k4_sub_mul_mul_add                     27    64    16    16    0         5      0     0
batch norm, gradients
  k0_size_lt_sum_size_div_sub_mul_su     56    32     4     4    4        64   5120     0
  k1_size_lt_sum_size_div_sub_mul_su     64    32     4     4    4        32   8192   159  calls in
          loops: 7
  k2_size_lt_sum_size_div_sub_mul_su     24    64     4     4    0         2      0     0
  k3_size_lt_sum_size_div_sub_mul_su     60    32     4     4    4        64   5120     0
  k4_size_lt_sum_size_div_sub_mul_su     64    32     4     4    4        65  17408     0
batch norm of pictures, with gradients
  k0_sum_size_div_sub_size_lt_mul_su     55    32     4     4    4        24     32    43
  k1_sum_size_div_sub_size_lt_mul_su     64    32     4     4    4        32   8192   159  calls in
          loops: 7
  k2_sum_size_div_sub_size_lt_mul_su     23    64     4     4    0         2      0     0
  k3_sum_size_div_sub_size_lt_mul_su     40    48     4     4    4         8     32    75
  k4_sub_mul_add                         22    64    16    16    0         6      0     0
mean cross entropy of 8192x1000
  k0_max_sub_exp_sum_log_pick_sub        25    64    16     8    4         5     32    75
  k1_sum_div                             31    64    16     4   16        16     64    26
relu of dot 4096x4096x4096
  k0_dot_relu                           183     8     4    16   16         8   8448   591
relu of dot 64x16384x64
  k0_dot_relu                            69    24     4    16   16         8   8704   332
  k1_dot_relu                            23    64     4     4    4         4   4096     0
relu of dot 128x784x512
  k0_dot_relu                            75    24     4    16   16         8   8704   342
  k1_dot_relu                            20    64     4     4    0         7      0     0
relu of dot 1024x1024x1024, f64
  k0_dot_relu                           128    16     8    16   16         8  17408   368
relu of dot 4096x512x10
  k0_dot_relu                            77    24     4     4   16         5   5632   128
  k1_dot_relu                            14    64     4     4    0         4      0     0
relu of dot + bias, free
  k0_dot_add_relu                       102    16     4    16   16         8   8704   375
  k1_dot_add_relu                        36    48     4     4    4         4   2048    18
  k2_dot_add_relu                       100    16    16    16   16         8   8704   369
  k3_dot_add_relu                       197     8    16    16   16         8   8448   634
relu of dot + bias, free, with the library
  k0_dot_add_relu                       199     8     4    16   16         8   8448   635
  k1_dot_add_relu                        22    64    16    16    0         5      0     0
  k2_dot_add_relu                       102    16     4    16   16         8   8704   375
  k3_dot_add_relu                        36    48     4     4    4         4   2048    18
  k4_dot_add_relu                       100    16    16    16   16         8   8704   369
  k5_dot_add_relu                       197     8    16    16   16         8   8448   634
relu of dot of transposed, free
  k0_dot_relu                           108    16     4    16   16         8   8704   382
  k1_dot_relu                            36    48     4     4    4         4   2048    18
  k2_dot_relu                            99    16     4    16   16         8   8704   373
  k3_dot_relu                           201     8     4    16   16         8   8448   636
exp of matmul of a batch
  k0_dot_exp                             71    24     4    16   16         8   8704   339
  k1_dot_exp                            125    16     4    16   16         8   8448   601
dot of matrix and vector
  k0_mul_sum                             42    40    16     4   16        40     32    26
conv2d of 64x56x56, 3x3
  k0_unslice_convolution                128    16     4    16   16        15  14400   758  spills:
          2, stack 8
  k1_unslice_convolution                 39    48     4     4    4         4   2048    18
  k2_unslice_convolution                124    16     4    16   16        15  14400   764
conv2d, gradient of the image
  k0_unslice_unslice_convolution        128    16     4    16   16        15  14400   767
  k1_unslice_unslice_convolution         39    48     4     4    4         4   2048    18
  k2_unslice_unslice_convolution        128    16     4    16   16        15  14400   772
conv2d, gradient of the filters
  k0_unslice                             27    64     4    16    0         4      0     0
  k1_convolution                        127    16     4    16   16        16   7616   643
  k2_convolution                         40    48     4     4    4        16   1024    47
  k3_convolution                        128    16     4     4   16        16   7616   639
  k4_copy                                10    64     4     4    0         1      0     0
gather, free
  k0_take                                10    64     8     8    0         1      0     0
scatter_add, free
  k0_scatter_add                          8    64     4    16    0         1      0     0
  k1_scatter_add                         29    64     8     8    4         2   8704    12
  k2_scatter_add                         10    64     8     8    0         1      0     0
  k3_scatter_add                        120    16     8     8    8        16   4104   137
  k4_scatter_add                         96    16     8     8   16         6  38984   314
  k5_scatter_add                         96    16     8     8   16        17  38984   314
  k5_scatter_add                         96    16     8     8   16        17  38984   314
  k5_scatter_add                         96    16     8     8   16        17  38984   314
  k8_scatter_add                        120    16     8     8    8         3   4232   138
  k9_mul                                 14    64    16    16    0         1      0     0
scatter_add of numbers
  k0_scatter_add                          8    64     4     4    0         1      0     0
  k1_scatter_add                         11    64     8     8    0         2      0    27
  k2_scatter_add                         10    64     8     8    0         1      0     0
  k3_scatter_add                         22    56     4     4    4         2  10240   139
  k4_scatter_add                         21    64     4     4    4         4   1024    27
cumsum down rows
  k0_cumsum                              14    64    16    16    0         1      0     0
  k1_cumsum                              22    64     4     4    0         5      0    23
  k2_cumsum                             121    16     8     8    8        16   2184   255
MLP step 784-512-10
LSTM step, 256 units
  k3_scan_dot_add_add_sigmoid_sigmoi     48    32     4     4    0        32      0   234  calls in
          loops: 5
  k4_scan_dot_add_add_sigmoid_sigmoi     96    12     4     4   16        64  41984   357  calls in
          loops: 5
  k5_scan_dot_add_add_sigmoid_sigmoi     96    20     4     8    8        24  14336   526  calls in
          loops: 5
  k13_scan_add_mul_mul_sub_mul_add_m     62    32     4     4    0        32      0   121
  k14_scan_add_mul_mul_sub_mul_add_m     78    16     4    16   16        32  35328   108
  k15_scan_add_mul_mul_sub_mul_add_m    104    16     4     8    8        24  14336   508
LSTM step, 64 units
  k3_scan_dot_dot_add_add_sigmoid_si     91    16     4     4    0        64      0   233  calls in
          loops: 5
  k4_scan_dot_add_add_sigmoid_sigmoi     77    24     4     4   16        16  17408   681  calls in
          loops: 5
  k5_scan_dot_add_add_sigmoid_sigmoi     71    28     4     8    8        24  14336   527  calls in
          loops: 5
  k13_scan_add_mul_mul_sub_mul_add_m     90    16     4     4    0        64      0   153
  k14_scan_add_mul_mul_sub_mul_add_m     71    28     4    16   16        32  18944   962
  k15_scan_add_mul_mul_sub_mul_add_m     96    20     4     8    8        24  14336   526
running sum by scan
gradient of a running sum by scan
1000 steps of oscillators
  k1_scan_sin_neg_mul_sub_mul_add_mu     20    64     4     4    0         2      0   126
Kalman filter of 4 numbers
  k1_scan_mul_sum_mul_dot_dot_add_mu    104    19     4     4    0        73      0   461  calls in
          loops: 4
relu of dot 4096x4096x4096, bf16
  k0_cast_cast_dot_cast_cast_relu_ca    121    16     2     4    4        16  49152   266  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot 4096x4096x4096, bf16, with the library
  k0_cast_cast_dot_cast_cast_relu_ca    123    16     2     8    4        16  49152   270  HMMA 32,
          LDSM 12, LDGSTS 12
  k1_cast_cast_dot_cast_cast_relu_ca     21    64    16    16    0         2      0     0
relu of dot 8x4096x4096, f16
  k0_cast_cast_dot_cast_cast_relu_ca     80    20     2     8    4        32  27648   267  HMMA 8,
          LDSM 6, LDGSTS 15
  k1_cast_cast_dot_cast_cast_relu_ca     20    64     4     2    0         8      0     0
relu of dot 4096x4096x4096, TF32
  k0_dot_relu                           124    16     4     8    4        21  49152   430  HMMA 32,
          LDSM 8, LDGSTS 12
relu of dot bf16, free
  k0_cast_cast_dot_cast_cast_relu_ca     98    16     2     8    4        16  24576   317  HMMA 16,
          LDSM 8, LDGSTS 12
  k1_cast_cast_dot_cast_cast_relu_ca     36    48     4     2    4         4   2048    18
  k2_cast_cast_dot_cast_cast_relu_ca     92    20     2     4    4        16  24576   307  HMMA 16,
          LDSM 8, LDGSTS 12
  k3_cast_cast_dot_cast_cast_relu_ca    124    16     2     4    4        16  49152   336  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot of transposed + bias, bf16
  k0_cast_cast_dot_cast_cast_cast_ad     92    20     4     4    4        16  24576   260  HMMA 16,
          LDSM 8, LDGSTS 12
conv2d of 256x56x56, 1x1
  k0_convolution                         95    16     4    16   16        12  12800   619
conv2d of 3x224x224, 7x7, stride 2
  k0_unslice_convolution                100    16     4    16   16        11  11200   620
conv2d of 128x56x56, 3x3, stride 2
  k0_unslice_convolution                127    16     4    16   16        15  14400   747
  k1_unslice_convolution                 39    48     4     4    4         4   2048    18
  k2_unslice_convolution                127    16     4    16   16        15  14400   742
conv2d of 128x56x56, 3x3, stride 2, by the image
  k0_convolution                         94    16     4    16   16        12  12800   620
  k1_unslice_convolution                 92    16     4     4   16        12  12800   626
  k2_unslice_convolution                 95    16     4    16   16        12  12800   624
  k3_unslice_unslice_convolution        128    16     4    16   16        12  12800   668
  k4_unslice_unslice_convolution         39    48     4     4    4         4   2048    18
  k5_unslice_unslice_convolution         92    16     4     4   16        12  12800   632
  k6_unslice_unslice_add_unslice_add     17    64     4     4    0         4      0     0
conv2d of 128x56x56, 3x3, stride 2, by the filters
  k0_unslice                             27    64     4    16    0         4      0     0
  k1_convolution                        128    16     4    16   16        12  11200   651
  k2_convolution                         40    48     4     4    4        16   1024    63
  k3_convolution                        128    16     4     4   16        12  11200   651
  k4_copy                                10    64     4     4    0         1      0     0
conv2d of 64x56x56, 3x3, dilation 2
  k0_unslice_convolution                128    16     4    16   16        15  14400   758  spills:
          2, stack 8
  k1_unslice_convolution                 39    48     4     4    4         4   2048    18
  k2_unslice_convolution                124    16     4    16   16        15  14400   764
conv2d of 128x28x28, 3x3, 4 groups
  k0_unslice_convolution                126    16     4    16   16        24  12096   764  spills:
          80, stack 64
  k1_unslice_convolution                 39    48     4     4    4         4   2048    18
  k2_unslice_convolution                110    16     4    16   16        24  12096   778
  k3_copy                                14    64    16    16    0         1      0     0
conv2d of 96x56x56, 3x3, 96 groups
  k0_unslice_mul_mul_add_mul_add_mul     36    48     4     4    0        27      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the image
  k0_unslice_unslice_mul_mul_add_mul     36    48     4     4    0        27      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the filters
  k0_unslice_mul_sum_mul_sum_mul_sum     56    32     4     4    4        10     32    83
  k1_unslice_mul_sum_mul_sum_mul_sum     64    32     4     4    4        27     32    86
  k2_unslice_mul_sum_mul_sum_mul_sum     55    32     4     4    4        10     32    60
  k3_concatenate                          8    64     4     4    0         1      0     0
  k4_copy                                 8    64     4     4    0         1      0     0
conv2d of 64 channels, 3x3, free
  k0_unslice_convolution                128    16     4    16   16        15  14400   778
  k1_unslice_convolution                 39    48     4     4    4         4   2048    18
  k2_unslice_convolution                128    16     4     4   16        15  14400   761
conv2d of 64 channels, 3x3, free, by the image
  k0_unslice_unslice_convolution        123    16     4    16   16        15  14400   777
  k1_unslice_unslice_convolution         39    48     4     4    4         4   2048    18
  k2_unslice_unslice_convolution        128    16     4     4   16        15  14400   768
conv2d of 64 channels, 3x3, free, by the filters
  k0_unslice                             22    64     4    16    0         4      0     0
  k1_convolution                        128    16     4    16   16        16   8704   751
  k2_convolution                         40    48     4     4    4        16   1024    47
  k3_convolution                        128    16     4     4   16        16   8704   755
  k4_copy                                10    64     4     4    0         1      0     0
conv1d of 64x4096, 5
  k0_unslice_convolution                128    16     4    16   16        16  16000   819  spills:
          20, stack 16
  k1_unslice_convolution                 39    48     4     4    4         4   2048    18
  k2_unslice_convolution                106    16     4    16   16        16  16000   814
conv3d of 32x16x28x28, 3x3x3
  k0_unslice_convolution                128    16     4    16   16        24  12096   808
  k1_unslice_convolution                 39    48     4     4    4         4   2048    18
  k2_unslice_convolution                128    16     4    16   16        24  12096   796
attention of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    148    12     2     4   16        32  33792  1409  HMMA 64,
          LDSM 40, LDGSTS 16
attention of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    105    16     4    16   16        32  37888   298
causal attention of 8x12x1024x64, bf16
  k0_iota_iota_le_cast_cast_dot_cast    167    12     2     4   16        32  33792  2142  HMMA 64,
          LDSM 40, LDGSTS 16
attention of heads of 128, f16, free
  k0_cast_cast_dot_cast_cast_mul_cas    168    12     2     4   16        64  37888  1114  HMMA 64,
          LDSM 42, LDGSTS 20
causal attention of heads of 64, f32, free
  k0_iota_iota_le_dot_mul_where_max_    121    16     4    16   16        32  37888   287
attention of 8x12x1024x64, f16, gradients
  k0_cast_cast_dot_cast_cast_mul_cas    141    12     2     4   16        32  33792  1409  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            26    64    16     4    0        16      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    218     8     4     4    4        32  32768   848  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    172     8     4     4    4        32  28672   776  HMMA 48,
          LDSM 34, LDGSTS 12
cumsum of 1e6
  k0_cumsum                              87    16     8     8    8         8  11288   254
cumsum of rows, free
  k0_cumsum                              10    64     4     4    0         1      0     0
  k1_cumsum                              31    64     4     4    0        17      0    59
  k2_cumsum                              95    16     8     8    8         8  11288   176
linear recurrence of 100000x16
  k0_linear_recurrence                  112    16     8     8    8        18   6216   304
update of an embedding
  k0_checked_index                       12    64     8     8    0         1      0     0
  k1_mul_add_at                           8    64     4     4    0         1      0     0
  k2_mul_add_at                          96    16     8     8    8        16   2056   137
  k3_mul_add_at                          88    16     8     8   16         5  38984   312
  k4_mul_add_at                          88    16     8     8   16        17  38984   312
  k5_mul_add_at                          96    16     8     8    8         6   4232   213
argsort of 1e6
  k0_argsort                            110    16     8     8    8        16   4104   198
  k1_argsort                             96    16     8     8   16         4  38984   312
  k2_argsort                             96    16     8     8   16        15  38984   312
  k2_argsort                             96    16     8     8   16        15  38984   312
  k4_argsort                             96    16     8     8   16        15  38984   312
sort of 1000x1000
  k0_sort                                47    40     4     4   16         4  23616   237
sort of 10000x100
  k0_sort                                48    32     4     4   16         4   2952   189
sort of 100000x16
  k0_sort                                26    64     4     4   16         1   2048     0
first 5 of 64x50000
  k0_argtopk                             70    24     4     4   16         8  36928   312
  k1_argtopk                             50    32     4     8   16         8   3592   194
argsort of rows, free
  k0_argsort                             18    64     4     8    4         1   2048    30
  k1_argsort                             67    24     4     8   16         8  36928   322
  k2_argsort                            128    16     8     8    8        14   4104   282
  k3_argsort                             96    16     8     8   16         6  38984   314
  k4_argsort                             96    16     8     8   16        17  38984   314
  k4_argsort                             96    16     8     8   16        17  38984   314
  k6_argsort                             96    16     8     8   16        17  38984   314
attention step of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    168    12     4     4   16        32  33792  1410  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            26    64    16     4    0        16      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    218     8     4     4    4        32  32768   848  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    172     8     4     4    4        32  28672   776  HMMA 48,
          LDSM 34, LDGSTS 12
attention step of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    115    16    16    16   16        32  37888   298
  k1_sum                                 19    64    16     4    0        10      0     0
  k2_dot_mul_sub_exp_mul_dot_sub_mul    127    12     4    16   16        70  44288   318
  k3_dot_mul_sub_exp_mul_dot_sub_mul    128    12     4    16   16        64  44288   321  spills:
          3, stack 8
attention step of heads of 128, bf16
  k0_cast_cast_dot_cast_cast_mul_cas    167    12     4     4   16        64  37888  1228  HMMA 64,
          LDSM 42, LDGSTS 20
  k1_cast_sum                            26    64    16     4    0        16      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    255     8     4     4    4        64  36864  1959  HMMA 128,
          LDSM 84, LDGSTS 32
  k3_cast_cast_dot_cast_cast_mul_cas    218     8     4     4    4        64  34816  1813  HMMA 96,
          LDSM 66, LDGSTS 32
attention of 12 heads that share 4 keys, f16
  k0_cast_cast_dot_cast_cast_mul_cas    128    16     2     4   16        32  33792  1435  HMMA 64,
          LDSM 40, LDGSTS 16
CIFAR-10 step, Adam
transformer step, bf16, Adam
)golden");
}

TEST_CASE("golden: the code of canonical kernels, sm_100") {
  if (left_out(100, false)) return;
  check_golden("sm_100", table(100), R"golden(
kernel                                 regs warps  load store  lds in-flight shared  loop
elementwise, free
  k0_add_relu_mul                        18    64    16    16    0         2      0     0
tanh of 1e7
  k0_tanh                                18    64    16    16    0         1      0     0
exp, f64
  k0_exp_mul                             22    64    16    16    0         1      0     0
bias, free
  k0_mul                                 20    64    16    16    0         5      0     0
transpose of 4096x4096
  k0_copy                                26    64     4     4    4         4   4224     0
x + transpose(y), free
  k0_add                                 32    64     4     4    4         6   4224     0
concatenate
  k0_mul_concatenate                     14    64     4     4    0         2      0     0
softmax of 1000x1000
  k0_max_sub_exp_sum_div_mul             28    64    16    16   16         5     32    34
softmax of 8x1e6
  k0_max_sub_exp_sum_div_mul             43    40     4     4   16        12     32    32
  k1_max_sub_exp_sum_div_mul             28    32     4     4    0        15      0     0
  k2_max_sub_exp_sum_div_mul             22    64    16    16    0         2      0     0
softmax, free
  k0_max_sub_exp_sum_div_mul             40    48     4     4   16        32     32    34
  k1_max_sub_exp_sum_div_mul             34    48     4     4   16        16     32    71
  k2_max_sub_exp_sum_div_mul             22    64    16    16    0         3      0     0
  k3_max_sub_exp_sum_div_mul             29    64    16    16    0        10      0     0
  k4_max_sub_exp_sum_div_mul             38    48    16    16    0        20      0     0
  k5_max_sub_exp_sum_div_mul             56    32    16    16   16        36     32    32
  k6_max_sub_exp_sum_div_mul             40    48     4     4   16        16     32    92
log_softmax of 8192x128
  k0_max_sub_exp_sum_log_sub             21    64    16    16    0         5      0     0
sum of rows, free
  k0_sum                                 54    32     4     4   16        16     32    40
  k1_sum                                 48    40     4     4   16        16     32    40
  k2_sum                                 39    48     4     4    0        16      0    40
  k3_sum                                 46    40     4     4   16        16     32    40
softmax of 1e6x24
  k0_max_sub_exp_sum_div_mul             40    48    16    16    0        15      0     0
softmax of 1e6x32
  k0_max_sub_exp_sum_div_mul             19    64    16    16    0         5      0     0
layer norm of 1e6x48
  k0_sum_div_sub_mul_sum_div_add_sqr     39    48    16    16    0        15      0     0
softmax of 1e6x10
  k0_max_sub_exp_sum_div_mul             46    42     4     4    4        10   5632     0
argmax of rows, free
  k0_argmax                              28    64     4     8   16         2     96    92
  k1_argmax                              28    64     8     8   16         4     96    93
  k2_argmax                              19    64     4     8    0         2      0    87
  k3_argmax                              20    64     4     8   16         2     96    87
mean of rows, f64
  k0_sum_size_div                        63    32     8     8   16        12     64    40
  k1_sum_size_div                        62    32     8     8   16        13     64    40
  k2_sum_size_div                        55    36     8     8    0        16      0    40
  k3_sum_size_div                        63    32     8     8   16        16     64    40
layer norm
  k0_sum_div_sub_mul_sum_div_add_sqr     28    64    16    16   16        10     32    26
layer norm, gradients
  k0_mul_sum_div_sub_mul_sum_div_add     34    48    16    16   16        15     32    26
  k1_sub_mul_mul_sum_sum                 72    16     4     4    4        32   4096    85
  k2_sub_mul_mul_sum_sum                 64    32     4     4    4        32   8192    72
  k3_sub_mul_mul_sum_sum                 64    32     4     4    4        28   8192    85
sum of all, free
  k0_sum                                 48    40     4     4   16        16     32    40
  k1_sum                                 46    40     4     4   16        16     32    40
  k2_sum                                 46    40     4     4   16        16     32    40
argmax of all, free
  k0_argmax                              28    64     4     8   16         2     96    91
  k1_argmax                              22    64     8     8   16         4     96    96
  k2_argmax                              18    64     4     8   16         2     96    87
softmax of all, free
  k0_max_sub_exp_sum                     31    64     4     4   16        16     32    70
  k1_max_sub_exp_sum                     27    64     4     4   16        16     32    71
  k2_max_sub_exp_sum                     39    48     4     4   16         2     32    28
  k3_max_sub_exp_sum                     46    40     4     4   16        16     32    40
  k4_max_sub_exp_sum                     31    64     4     4   16        16     32    70
  k5_div_mul                             15    64    16    16    0         1      0     0
sum of columns of 1e6x8
  k0_sum                                 45    40     4     4    4        16   1024    38
  k1_sum                                 21    64     4     4    4         4   4096    19
sum of columns, free
  k0_sum                                 71    16     4     4    4        16   2048    67
  k1_sum                                 80    16     4     4    4        16   2048    67
  k2_sum                                 80    16     4     4    4        16   2048    67
sum of 512 columns
  k0_sum                                 45    32     4     4    4        16   2048    38
  k1_sum                                 45    32     4     4    4        16   4096    38
  k2_sum                                 45    32     4     4    4        16   4096    38
softmax of columns, free
  k0_max_sub_exp_sum_div_mul             43    40     4     4    4        16   2560     0
  k1_max_sub_exp_sum_div_mul             56    32     4     4    4         8   4096   139
  k2_max_sub_exp_sum_div_mul             23    64    16    16    0         3      0     0
  k3_max_sub_exp_sum_div_mul             42    40     4     4    4        12   2560     0
  k4_max_sub_exp_sum_div_mul             58    32     4     4    4        12   8704     0
sum of channels
  k0_sum                                 48    40     4     4   16         8     32    76
  k1_sum                                 45    32     4     4    4        16   4096    38
  k2_sum                                 56    32     4     4   16         8     32    69
softmax of columns of 4096x4096
  k0_max_sub_exp_sum_div_mul             64    32     4     4    4        20   8704     0
argmax of columns of 4096x4096
  k0_argmax                              26    64     4     8    8         2   6144    93
  k1_argmax                              18    64     8     8    0         4      0     0
mean, variance and extremes of columns
  k0_sum_div_sub_mul_sum_div_max_min     61    32     4     4    4        20  17408     0
log_softmax over 64 channels
  k0_max_sub_exp_sum_log_sub             64    32     4     4    4        16   1024     0
batch norm
  k0_sum_size_div_sub_size_lt_mul_su     38    48     4     4    4        32   2560     0
  k1_sum_size_div_sub_size_lt_mul_su     54    32     4     4    4        16   4096   130  calls in
          loops: 7
  k2_sum_size_div_sub_size_lt_mul_su     39    48     4     4    4        32   2560     0
  k3_sum_size_div_sub_size_lt_mul_su     54    32     4     4    4        64   8704     0
  k4_sub_mul_mul_add                     28    64    16    16    0         5      0     0
batch norm, gradients
  k0_size_lt_sum_size_div_sub_mul_su     61    32     4     4    4        64   5120     0
  k1_size_lt_sum_size_div_sub_mul_su     64    32     4     4    4        32   8192   154  calls in
          loops: 7
  k2_size_lt_sum_size_div_sub_mul_su     19    64     4     4    0         3      0     0
  k3_size_lt_sum_size_div_sub_mul_su     61    32     4     4    4        64   5120     0
  k4_size_lt_sum_size_div_sub_mul_su     64    32     4     4    4        68  17408     0
batch norm of pictures, with gradients
  k0_sum_size_div_sub_size_lt_mul_su     66    24     4     4   16        32     32    26
  k1_sum_size_div_sub_size_lt_mul_su     64    32     4     4    4        32   8192   146  calls in
          loops: 7
  k2_sum_size_div_sub_size_lt_mul_su     21    64     4     4    0         3      0     0
  k3_sum_size_div_sub_size_lt_mul_su     64    32     4     4   16        16     32   118
  k4_sub_mul_add                         26    64    16    16    0         7      0     0
mean cross entropy of 8192x1000
  k0_max_sub_exp_sum_log_pick_sub        26    64    16     8   16         5     32    34
  k1_sum_div                             23    64    16     4   16        16     64    26
relu of dot 4096x4096x4096
  k0_dot_relu                           183     8     4    16   16         8   8448   585
relu of dot 64x16384x64
  k0_dot_relu                            77    24     4    16   16         8   8704   325
  k1_dot_relu                            26    64     4     4    4         4   4096     0
relu of dot 128x784x512
  k0_dot_relu                            72    24     4    16   16         8   8704   355
  k1_dot_relu                            20    64     4     4    0         7      0     0
relu of dot 1024x1024x1024, f64
  k0_dot_relu                           128    16     8    16   16         8  17408   364
relu of dot 4096x512x10
  k0_dot_relu                            79    24     4     4   16         5   5632   127
  k1_dot_relu                            16    64     4     4    0         4      0     0
relu of dot + bias, free
  k0_dot_add_relu                       105    16     4    16   16         8   8704   391
  k1_dot_add_relu                        80    16     4     4    4        16   2048    67
  k2_dot_add_relu                       103    16    16    16   16         8   8704   367
  k3_dot_add_relu                       231     8    16    16   16         8   8448   625
relu of dot + bias, free, with the library
  k0_dot_add_relu                       225     8     4    16   16         8   8448   625
  k1_dot_add_relu                        20    64    16    16    0         5      0     0
  k2_dot_add_relu                       105    16     4    16   16         8   8704   391
  k3_dot_add_relu                        80    16     4     4    4        16   2048    67
  k4_dot_add_relu                       103    16    16    16   16         8   8704   367
  k5_dot_add_relu                       231     8    16    16   16         8   8448   625
relu of dot of transposed, free
  k0_dot_relu                           103    16     4    16   16         8   8704   368
  k1_dot_relu                            80    16     4     4    4        16   2048    67
  k2_dot_relu                            96    16     4    16   16         8   8704   370
  k3_dot_relu                           211     8     4    16   16         8   8448   627
exp of matmul of a batch
  k0_dot_exp                             72    24     4    16   16         8   8704   328
  k1_dot_exp                            121    16     4    16   16         8   8448   585
dot of matrix and vector
  k0_mul_sum                             40    48    16     4   16        32     32    26
conv2d of 64x56x56, 3x3
  k0_unslice_convolution                127    16     4    16   16        15  14400   713
  k1_unslice_convolution                 72    16     4     4    4        16   2048    67
  k2_unslice_convolution                128    16     4    16   16        15  14400   711
conv2d, gradient of the image
  k0_unslice_unslice_convolution        128    16     4    16   16        15  14400   750
  k1_unslice_unslice_convolution         72    16     4     4    4        16   2048    67
  k2_unslice_unslice_convolution        128    16     4    16   16        15  14400   720
conv2d, gradient of the filters
  k0_unslice                             22    64     4    16    0         4      0     0
  k1_convolution                        128    16     4    16   16        16   7616   659
  k2_convolution                         48    40     4     4    4        16   1024    42
  k3_convolution                        127    16     4     4   16        16   7616   617
  k4_copy                                12    64     4     4    0         1      0     0
gather, free
  k0_take                                12    64     8     8    0         1      0     0
scatter_add, free
  k0_scatter_add                          8    64     4    16    0         1      0     0
  k1_scatter_add                         36    48     8     8    4         2   8704    11
  k2_scatter_add                         10    64     8     8    0         1      0     0
  k3_scatter_add                         72    24     8     8    8        16   4104   189
  k4_scatter_add                        100    16     8     8   16         7  38984   316
  k5_scatter_add                        100    16     8     8   16        14  38984   316
  k5_scatter_add                        100    16     8     8   16        14  38984   316
  k5_scatter_add                        100    16     8     8   16        14  38984   316
  k8_scatter_add                        128    16     8     8    8        20   4232   145  spills:
          15, stack 24
  k9_mul                                 14    64    16    16    0         1      0     0
scatter_add of numbers
  k0_scatter_add                          8    64     4     4    0         1      0     0
  k1_scatter_add                         18    64     8     8    0         2      0    26
  k2_scatter_add                         12    64     8     8    0         1      0     0
  k3_scatter_add                         22    64     4     4    4         4  10240   133
  k4_scatter_add                         26    64     4     4    4         8   1024    53
cumsum down rows
  k0_cumsum                              14    64    16    16    0         1      0     0
  k1_cumsum                              32    64     4     4    0         3      0    61
  k2_cumsum                             127    16     8     8    8        16   2184   230
MLP step 784-512-10
LSTM step, 256 units
  k3_scan_dot_add_add_sigmoid_sigmoi     52    32     4     4    0        32      0   227  calls in
          loops: 5
  k4_scan_dot_add_add_sigmoid_sigmoi    127    16     4     4   16        64  41984   378  calls in
          loops: 5
  k5_scan_dot_add_add_sigmoid_sigmoi    117    16     4     8    8        24  14336   502  calls in
          loops: 5
  k13_scan_add_mul_mul_sub_mul_add_m     94    16     4     4    0        32      0   106
  k14_scan_add_mul_mul_sub_mul_add_m    115    16     4    16   16        64  35328  1491
  k15_scan_add_mul_mul_sub_mul_add_m    109    16     4     8    8        24  14336   599
LSTM step, 64 units
  k3_scan_dot_dot_add_add_sigmoid_si    103    16     4     4    0        64      0   226  calls in
          loops: 5
  k4_scan_dot_add_add_sigmoid_sigmoi     79    24     4     4   16        17  17408   678  calls in
          loops: 5
  k5_scan_dot_add_add_sigmoid_sigmoi     79    24     4     8    8        24  14336   528  calls in
          loops: 5
  k13_scan_add_mul_mul_sub_mul_add_m    104    16     4     4    0        64      0   153
  k14_scan_add_mul_mul_sub_mul_add_m     95    20     4    16   16        32  18944   942
  k15_scan_add_mul_mul_sub_mul_add_m    106    16     4     8    8        24  14336   536
running sum by scan
gradient of a running sum by scan
1000 steps of oscillators
  k1_scan_sin_neg_mul_sub_mul_add_mu     20    64     4     4    0         2      0   126
Kalman filter of 4 numbers
  k1_scan_mul_sum_mul_dot_dot_add_mu    105    18     4     4    0        73      0   464  calls in
          loops: 4
relu of dot 4096x4096x4096, bf16
  k0_cast_cast_dot_cast_cast_relu_ca    124    16     2     4    4        16  49152   278  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot 4096x4096x4096, bf16, with the library
  k0_cast_cast_dot_cast_cast_relu_ca    124    16     2     8    4        16  49152   278  HMMA 32,
          LDSM 12, LDGSTS 12
  k1_cast_cast_dot_cast_cast_relu_ca     19    64    16    16    0         2      0     0
relu of dot 8x4096x4096, f16
  k0_cast_cast_dot_cast_cast_relu_ca     84    20     2     8    4        32  27648   280  HMMA 8,
          LDSM 6, LDGSTS 15
  k1_cast_cast_dot_cast_cast_relu_ca     22    64     4     2    0         8      0     0
relu of dot 4096x4096x4096, TF32
  k0_dot_relu                           121    16     4     8    4         8  49152   375  HMMA 32,
          LDSM 8, LDGSTS 12
relu of dot bf16, free
  k0_cast_cast_dot_cast_cast_relu_ca     94    20     2     8    4        16  24576   312  HMMA 16,
          LDSM 8, LDGSTS 12
  k1_cast_cast_dot_cast_cast_relu_ca     80    16     4     2    4        16   2048    67
  k2_cast_cast_dot_cast_cast_relu_ca     94    20     2     4    4        16  24576   304  HMMA 16,
          LDSM 8, LDGSTS 12
  k3_cast_cast_dot_cast_cast_relu_ca    124    16     2     4    4        16  49152   313  HMMA 32,
          LDSM 12, LDGSTS 12
relu of dot of transposed + bias, bf16
  k0_cast_cast_dot_cast_cast_cast_ad     95    20     4     4    4        16  24576   270  HMMA 16,
          LDSM 8, LDGSTS 12
conv2d of 256x56x56, 1x1
  k0_convolution                         94    16     4    16   16        12  12800   608
conv2d of 3x224x224, 7x7, stride 2
  k0_unslice_convolution                107    16     4    16   16         8  11200   639
conv2d of 128x56x56, 3x3, stride 2
  k0_unslice_convolution                128    16     4    16   16        15  14400   740  spills:
          22, stack 40
  k1_unslice_convolution                 72    16     4     4    4        16   2048    67
  k2_unslice_convolution                128    16     4    16   16        15  14400   718
conv2d of 128x56x56, 3x3, stride 2, by the image
  k0_convolution                        104    16     4    16   16        12  12800   614
  k1_unslice_convolution                113    16     4     4   16        12  12800   616
  k2_unslice_convolution                 99    16     4    16   16        12  12800   616
  k3_unslice_unslice_convolution        127    16     4    16   16        12  12800   644
  k4_unslice_unslice_convolution         72    16     4     4    4        16   2048    67
  k5_unslice_unslice_convolution        115    16     4     4   16        12  12800   630
  k6_unslice_unslice_add_unslice_add     22    64     4     4    0         4      0     0
conv2d of 128x56x56, 3x3, stride 2, by the filters
  k0_unslice                             26    64     4    16    0         4      0     0
  k1_convolution                        128    16     4    16   16        12  11200   619
  k2_convolution                         48    40     4     4    4        16   1024    54
  k3_convolution                        127    16     4     4   16        12  11200   622
  k4_copy                                12    64     4     4    0         1      0     0
conv2d of 64x56x56, 3x3, dilation 2
  k0_unslice_convolution                127    16     4    16   16        15  14400   713
  k1_unslice_convolution                 72    16     4     4    4        16   2048    67
  k2_unslice_convolution                128    16     4    16   16        15  14400   711
conv2d of 128x28x28, 3x3, 4 groups
  k0_unslice_convolution                127    16     4    16   16        24  12096   808  spills:
          50, stack 56
  k1_unslice_convolution                 72    16     4     4    4        16   2048    67
  k2_unslice_convolution                128    16     4    16   16        24  12096   753
  k3_copy                                14    64    16    16    0         1      0     0
conv2d of 96x56x56, 3x3, 96 groups
  k0_unslice_mul_mul_add_mul_add_mul     36    48     4     4    0        16      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the image
  k0_unslice_unslice_mul_mul_add_mul     36    48     4     4    0        16      0     0
conv2d of 96x56x56, 3x3, 96 groups, by the filters
  k0_unslice_mul_sum_mul_sum_mul_sum     63    32     4     4   16        10     32    85
  k1_unslice_mul_sum_mul_sum_mul_sum     64    32     4     4   16        22     32    95
  k2_unslice_mul_sum_mul_sum_mul_sum     64    32     4     4   16        10     32    63
  k3_concatenate                         12    64     4     4    0         9      0     0
  k4_copy                                10    64     4     4    0         1      0     0
conv2d of 64 channels, 3x3, free
  k0_unslice_convolution                128    16     4    16   16        15  14400   774  spills:
          6, stack 24
  k1_unslice_convolution                 72    16     4     4    4        16   2048    67
  k2_unslice_convolution                128    16     4     4   16        15  14400   771
conv2d of 64 channels, 3x3, free, by the image
  k0_unslice_unslice_convolution        127    16     4    16   16        15  14400   804
  k1_unslice_unslice_convolution         72    16     4     4    4        16   2048    67
  k2_unslice_unslice_convolution        128    16     4     4   16        15  14400   797  spills:
          2, stack 8
conv2d of 64 channels, 3x3, free, by the filters
  k0_unslice                             32    64     4    16    0         4      0     0
  k1_convolution                        126    16     4    16   16        16   8704  1006  spills:
          32, stack 32
  k2_convolution                         48    40     4     4    4        16   1024    42
  k3_convolution                        128    16     4     4   16        16   8704   995
  k4_copy                                12    64     4     4    0         1      0     0
conv1d of 64x4096, 5
  k0_unslice_convolution                128    16     4    16   16        10  16000   804  spills:
          22, stack 32
  k1_unslice_convolution                 72    16     4     4    4        16   2048    67
  k2_unslice_convolution                109    16     4    16   16        12  16000   799
conv3d of 32x16x28x28, 3x3x3
  k0_unslice_convolution                126    16     4    16   16        24  12096   970  spills:
          48, stack 48
  k1_unslice_convolution                 72    16     4     4    4        16   2048    67
  k2_unslice_convolution                128    16     4    16   16        19  12096   845
attention of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    161    12     2     4   16        32  33792  1246  HMMA 64,
          LDSM 40, LDGSTS 16
attention of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    120    16     4    16   16        32  37888   288
causal attention of 8x12x1024x64, bf16
  k0_iota_iota_le_cast_cast_dot_cast    167    12     2     4   16        32  33792  2002  HMMA 64,
          LDSM 40, LDGSTS 16
attention of heads of 128, f16, free
  k0_cast_cast_dot_cast_cast_mul_cas    202     8     2     4   16        42  37888   974  HMMA 64,
          LDSM 42, LDGSTS 20
causal attention of heads of 64, f32, free
  k0_iota_iota_le_dot_mul_where_max_    128    16     4    16   16        32  37888   288
attention of 8x12x1024x64, f16, gradients
  k0_cast_cast_dot_cast_cast_mul_cas    163    12     2     4   16        32  33792  1245  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            25    64    16     4    0        16      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    224     8     4     4    4        32  32768   797  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    172     8     4     4    4        32  28672   713  HMMA 48,
          LDSM 34, LDGSTS 12
cumsum of 1e6
  k0_cumsum                              86    16     8     8    8         8  11288   137
cumsum of rows, free
  k0_cumsum                              10    64     4     4    0         1      0     0
  k1_cumsum                              28    64     4     4    0         9      0    35
  k2_cumsum                             102    16     8     8    8         8  11288   137
linear recurrence of 100000x16
  k0_linear_recurrence                  124    16     8     8    8        18   6216   256
update of an embedding
  k0_checked_index                       14    64     8     8    0         1      0     0
  k1_mul_add_at                          10    64     4     4    0         1      0     0
  k2_mul_add_at                          45    40     8     8    8        16   2056   127
  k3_mul_add_at                         100    16     8     8   16         7  38984   316
  k4_mul_add_at                         100    16     8     8   16        14  38984   316
  k5_mul_add_at                          96    16     8     8    8        18   4232   146
argsort of 1e6
  k0_argsort                             56    32     8     8    8        16   4104   127
  k1_argsort                            100    16     8     8   16         7  38984   316
  k2_argsort                            100    16     8     8   16        14  38984   316
  k2_argsort                            100    16     8     8   16        14  38984   316
  k4_argsort                            100    16     8     8   16        14  38984   316
sort of 1000x1000
  k0_sort                                50    32     4     4   16         4  23616   225
sort of 10000x100
  k0_sort                                50    32     4     4   16         4   2952   187
sort of 100000x16
  k0_sort                                24    64     4     4   16         1   2048     0
first 5 of 64x50000
  k0_argtopk                             72    24     4     4   16         8  36928   314
  k1_argtopk                             56    32     4     8   16         8   3592   196
argsort of rows, free
  k0_argsort                             28    64     4     8    4         1   2048    56
  k1_argsort                             72    24     4     8   16         8  36928   308
  k2_argsort                             89    16     8     8    8        16   4104   183
  k3_argsort                            107    16     8     8   16         6  38984   324
  k4_argsort                            107    16     8     8   16        11  38984   324
  k4_argsort                            107    16     8     8   16        11  38984   324
  k6_argsort                            108    16     8     8   16        13  38984   324
attention step of 8x12x1024x64, f16
  k0_cast_cast_dot_cast_cast_mul_cas    163    12     4     4   16        32  33792  1245  HMMA 64,
          LDSM 40, LDGSTS 16
  k1_cast_sum                            25    64    16     4    0        16      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    224     8     4     4    4        32  32768   797  HMMA 64,
          LDSM 44, LDGSTS 12
  k3_cast_cast_dot_cast_cast_mul_cas    172     8     4     4    4        32  28672   713  HMMA 48,
          LDSM 34, LDGSTS 12
attention step of 8x12x1024x64, f32
  k0_dot_mul_max_sub_exp_sum_div_mul    125    16    16    16   16        32  37888   288
  k1_sum                                 18    64    16     4    0        10      0     0
  k2_dot_mul_sub_exp_mul_dot_sub_mul    119    16     4    16   16        64  44288   288
  k3_dot_mul_sub_exp_mul_dot_sub_mul    128    16     4    16   16        64  44288   288
attention step of heads of 128, bf16
  k0_cast_cast_dot_cast_cast_mul_cas    202     8     4     4   16        64  37888  1148  HMMA 64,
          LDSM 42, LDGSTS 20
  k1_cast_sum                            25    64    16     4    0        16      0     0
  k2_cast_cast_dot_cast_cast_mul_cas    254     8     4     4    4        64  36864  1881  HMMA 128,
          LDSM 84, LDGSTS 32
  k3_cast_cast_dot_cast_cast_mul_cas    232     8     4     4    4        64  34816  1598  HMMA 96,
          LDSM 66, LDGSTS 32
attention of 12 heads that share 4 keys, f16
  k0_cast_cast_dot_cast_cast_mul_cas    168    12     2     4   16        32  33792  1246  HMMA 64,
          LDSM 40, LDGSTS 16
CIFAR-10 step, Adam
transformer step, bf16, Adam
)golden");
}
