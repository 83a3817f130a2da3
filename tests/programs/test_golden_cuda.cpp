// Golden dumps for GPUs: loop IR with blocks and threads, and the CUDA C++ printed from it.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/codegen/cuda/prelude.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/tools/golden.h"

using namespace kroton;  // NOLINT: tests

namespace {

std::string gpu_dump(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
  Graph graph(inputs, outputs, {});
  run_passes(graph);
  const Program program = lower(graph, "golden", gpu_machine());
  std::string text = "== loop\n" + to_string(program);
  const codegen::CudaProgram cuda = codegen::emit_cuda(program);
  for (const codegen::CudaKernel& kernel : cuda.kernels) {
    text += "== " + kernel.name + ": " + to_string(kernel.blocks) + " blocks of " +
            std::to_string(kernel.threads) + " threads\n";
  }
  const std::size_t kernels =
      cuda.source.find(codegen::cuda_prelude) + codegen::cuda_prelude.size();
  return text + cuda.source.substr(kernels);
}

}  // namespace

TEST_CASE("golden: an elementwise kernel for a GPU") {
  const Tensor x = matrix("x");
  const Tensor b = vector("b");
  check_golden("elementwise", gpu_dump({x, b}, {relu(x + b) * 2}), R"golden(
== loop
program golden  arena 0 bytes
# line 1
kernel k0_add_relu_mul(in x: f32[x.shape[0]*x.shape[1]], in b: f32[x.shape[1]], out mul7:
        f32[x.shape[0]*x.shape[1]]) work (4*x.shape[0]*x.shape[1]) {
  let t1 = mod(x.shape[1], 4) == 0
  block<64> for b_1 in 0..(floor_div(x.shape[0]*x.shape[1] + 255, 256)) {
    thread for t in 0..64 {
      let t2 = min((x.shape[0]*x.shape[1]) - b_1*256 - t*4, 4)
      let t3 = mod(b_1*64 + t, floor_div(x.shape[1], 4))*4
      let t4 = b_1*256 + t*4
      if t1 {
        vector<4> for k in 0..t2 {
          let t5 = k + b_1*256 + t*4
          mul7[t5] = max(x[t5] + b[t3 + k], 0.0) * 2.0
        }
      } else {
        vector<4> for k in 0..t2 {
          let t6 = t4 + k
          mul7[t6] = max(x[t6] + b[mod(t6, x.shape[1])], 0.0) * 2.0
        }
      }
    }
  }
}
== k0_add_relu_mul: floor_div(x.shape[0]*x.shape[1] + 255, 256) blocks of 64 threads

// line 1
extern "C" __global__ void __launch_bounds__(64, 16) k0_add_relu_mul(
    KROTON_GLOBAL(const float) x,
    KROTON_GLOBAL(const float) b,
    KROTON_GLOBAL(float) mul7,
    kt_index x_shape_0,
    kt_index x_shape_1,
    kt_index workers,
    kt_index size,
    unsigned long long by_size,
    unsigned long long by_x_shape_1,
    kroton_error* error) {
  const bool t1 = kt_rest(x_shape_1, 4) == 0;
  const kt_index b_1 = blockIdx.x;
  const kt_index t2 = x_shape_0 * x_shape_1 - b_1 * 256;
  {
    const kt_index t = threadIdx.x;
    const kt_index t3 = kt_least(t2 - t * 4, 4);
    const kt_index t4 = kt_rest(b_1 * 64 + t, size, by_size) * 4;
    const kt_index t5 = b_1 * 256 + t * 4;
    if (t1) {
      if (t3 >= 4 && KROTON_ADDRESS(x, 0) % 16 == 0 && KROTON_ADDRESS(b, 0) % 16 == 0 &&
              KROTON_ADDRESS(mul7, 0) % 16 == 0) {
        float x_together[4];
        KROTON_LOAD(x_together, x, t5);
        float b_together[4];
        KROTON_LOAD(b_together, b, t4);
        float mul7_together[4];
        #pragma unroll
        for (kt_index k = 0; k < 4; ++k) {
          const long long t6 = k + b_1 * 256 + t * 4;
          mul7_together[k] = kt_max(x_together[k] + b_together[k], 0.0f) * 2.0f;
        }
        KROTON_STORE(mul7, t5, mul7_together);
      } else {
        #pragma unroll
        for (kt_index k = 0; k < 4; ++k) {
          if (k < t3) {
            const long long t7 = k + b_1 * 256 + t * 4;
            mul7[t7] = kt_max(x[t7] + b[t4 + k], 0.0f) * 2.0f;
          }
        }
      }
    } else {
      if (t3 >= 4 && KROTON_ADDRESS(x, 0) % 16 == 0 && KROTON_ADDRESS(mul7, 0) % 16 == 0) {
        float x_together_1[4];
        KROTON_LOAD(x_together_1, x, t5);
        float mul7_together_1[4];
        #pragma unroll
        for (kt_index k = 0; k < 4; ++k) {
          const long long t8 = t5 + k;
          mul7_together_1[k] = kt_max(x_together_1[k] + b[kt_rest(t8, x_shape_1, by_x_shape_1)],
                  0.0f) * 2.0f;
        }
        KROTON_STORE(mul7, t5, mul7_together_1);
      } else {
        #pragma unroll
        for (kt_index k = 0; k < 4; ++k) {
          if (k < t3) {
            const long long t9 = t5 + k;
            mul7[t9] = kt_max(x[t9] + b[kt_rest(t9, x_shape_1, by_x_shape_1)], 0.0f) * 2.0f;
          }
        }
      }
    }
  }
}
)golden");
}

TEST_CASE("golden: softmax of rows for a GPU") {
  const Tensor rows = tensor("rows", {dim("n"), 100});
  check_golden("softmax", gpu_dump({rows}, {softmax(rows)}), R"golden(
== loop
program golden  arena 0 bytes
# line 1
kernel k0_max_sub_exp_sum_div_mul(in rows: f32[100*n], out mul10: f32[100*n]) work (1704*n) {
  block<32> for b in 0..n {
    registers row: f32[4]
    registers rows_1: f32[4]
    var acc: f32 = -inf
    var acc_1: f32 = 0.0
    thread for t in 0..32 {
      vector<2 unrolled 2> for k in 0..2 {
        rows_1[k] = rows[t*2 + k + b*100]
      }
      let t1 = t < 18
      if t1 {
        vector<2 unrolled 2> for k_1 in 0..2 {
          rows_1[k_1 + 2] = rows[t*2 + k_1 + b*100 + 64]
        }
      }
      unroll for k_2 in 0..2 {
        acc max= rows_1[k_2]
      }
      if t1 {
        unroll for k_3 in 0..2 {
          acc max= rows_1[k_3 + 2]
        }
      }
    }
    thread for t_1 in 0..32 {
      unroll for k_4 in 0..2 {
        let t2 = exp(rows_1[k_4] - acc)
        row[k_4] = t2
        acc_1 += t2
      }
      if t_1 < 18 {
        unroll for k_5 in 0..2 {
          let t3 = exp(rows_1[k_5 + 2] - acc)
          row[k_5 + 2] = t3
          acc_1 += t3
        }
      }
    }
    let t4 = 1.0 / acc_1
    thread for t_2 in 0..32 {
      registers near: f32[2]
      unroll for k_6 in 0..2 {
        near[k_6] = row[k_6] * t4
      }
      vector<2 unrolled 2> for k_7 in 0..2 {
        mul10[t_2*2 + k_7 + b*100] = near[k_7]
      }
      if t_2 < 18 {
        registers near_1: f32[2]
        unroll for k_8 in 0..2 {
          near_1[k_8] = row[k_8 + 2] * t4
        }
        vector<2 unrolled 2> for k_9 in 0..2 {
          mul10[t_2*2 + k_9 + b*100 + 64] = near_1[k_9]
        }
      }
    }
  }
}
== k0_max_sub_exp_sum_div_mul: floor_div(n + 3, 4) blocks of 128 threads

// line 1
extern "C" __global__ void __launch_bounds__(128, 8) k0_max_sub_exp_sum_div_mul(
    KROTON_GLOBAL(const float) rows,
    KROTON_GLOBAL(float) mul10,
    kt_index n,
    kt_index workers,
    kroton_error* error) {
  const kt_index lane = threadIdx.x % 32;
  const kt_index b = (kt_index)blockIdx.x * 4 + threadIdx.x / 32;
  if (b >= n) return;
  float row[4];
  float rows_1[4];
  float acc = (-__int_as_float(0x7f800000));
  float acc_1 = 0.0f;
  float acc_own = (-__int_as_float(0x7f800000));
  {
    const kt_index t = lane;
    if (KROTON_ADDRESS(rows, 0) % 8 == 0) {
      float rows_together[2];
      KROTON_LOAD(rows_together, rows, t * 2 + b * 100);
      #pragma unroll
      for (kt_index k = 0; k < 2; ++k) {
        rows_1[k] = rows_together[k];
      }
    } else {
      #pragma unroll
      for (kt_index k = 0; k < 2; ++k) {
        rows_1[k] = rows[t * 2 + k + b * 100];
      }
    }
    const bool t1 = t < 18;
    if (t1) {
      if (KROTON_ADDRESS(rows, 0) % 8 == 0) {
        float rows_together_1[2];
        KROTON_LOAD(rows_together_1, rows, t * 2 + b * 100 + 64);
        #pragma unroll
        for (kt_index k_1 = 0; k_1 < 2; ++k_1) {
          rows_1[k_1 + 2] = rows_together_1[k_1];
        }
      } else {
        #pragma unroll
        for (kt_index k_1 = 0; k_1 < 2; ++k_1) {
          rows_1[k_1 + 2] = rows[t * 2 + k_1 + b * 100 + 64];
        }
      }
    }
    #pragma unroll
    for (kt_index k_2 = 0; k_2 < 2; ++k_2) {
      acc_own = kt_max(acc_own, rows_1[k_2]);
    }
    if (t1) {
      #pragma unroll
      for (kt_index k_3 = 0; k_3 < 2; ++k_3) {
        acc_own = kt_max(acc_own, rows_1[k_3 + 2]);
      }
    }
  }
  acc = kt_max(acc, kt_combine<KtMax>(acc_own));
  float acc_own_1 = (-0.0f);
  {
    const kt_index t_1 = lane;
    #pragma unroll
    for (kt_index k_4 = 0; k_4 < 2; ++k_4) {
      const float t2 = rows_1[k_4] - acc;
      const float t3 = 89.0f < t2 ? 89.0f : t2;
      const float t4 = t3 < (-105.0f) ? (-105.0f) : t3;
      const float t5 = fmaf(t4, 0.7213475f, 12583039.0f);
      const float t6 = t5 - 12583039.0f;
      const float t7 = fmaf(t6, (-2.8572135e-06f), fmaf(t6, (-1.3862915f), t4));
      const float t8 = __int_as_float(kt_shl(__float_as_int(t5), 23));
      const float t9 = fmaf(fmaf(fmaf(fmaf(fmaf(fmaf(fmaf(0.000196116f, t7, 0.001410447f), t7,
              0.0083361035f), t7, 0.04166127f), t7, 0.16666614f), t7, 0.50000036f), t7, 1.0f), t7 *
              t8, t8) * t8;
      row[k_4] = t9;
      acc_own_1 = acc_own_1 + t9;
    }
    if (t_1 < 18) {
      #pragma unroll
      for (kt_index k_5 = 0; k_5 < 2; ++k_5) {
        const float t10 = rows_1[k_5 + 2] - acc;
        const float t11 = 89.0f < t10 ? 89.0f : t10;
        const float t12 = t11 < (-105.0f) ? (-105.0f) : t11;
        const float t13 = fmaf(t12, 0.7213475f, 12583039.0f);
        const float t14 = t13 - 12583039.0f;
        const float t15 = fmaf(t14, (-2.8572135e-06f), fmaf(t14, (-1.3862915f), t12));
        const float t16 = __int_as_float(kt_shl(__float_as_int(t13), 23));
        const float t17 = fmaf(fmaf(fmaf(fmaf(fmaf(fmaf(fmaf(0.000196116f, t15, 0.001410447f), t15,
                0.0083361035f), t15, 0.04166127f), t15, 0.16666614f), t15, 0.50000036f), t15, 1.0f),
                t15 * t16, t16) * t16;
        row[k_5 + 2] = t17;
        acc_own_1 = acc_own_1 + t17;
      }
    }
  }
  acc_1 = acc_1 + kt_combine<KtAdd>(acc_own_1);
  const float t18 = 1.0f / acc_1;
  {
    const kt_index t_2 = lane;
    float near[2];
    #pragma unroll
    for (kt_index k_6 = 0; k_6 < 2; ++k_6) {
      near[k_6] = row[k_6] * t18;
    }
    if (KROTON_ADDRESS(mul10, 0) % 8 == 0) {
      float mul10_together[2];
      #pragma unroll
      for (kt_index k_7 = 0; k_7 < 2; ++k_7) {
        mul10_together[k_7] = near[k_7];
      }
      KROTON_STORE(mul10, t_2 * 2 + b * 100, mul10_together);
    } else {
      #pragma unroll
      for (kt_index k_7 = 0; k_7 < 2; ++k_7) {
        mul10[t_2 * 2 + k_7 + b * 100] = near[k_7];
      }
    }
    if (t_2 < 18) {
      float near_1[2];
      #pragma unroll
      for (kt_index k_8 = 0; k_8 < 2; ++k_8) {
        near_1[k_8] = row[k_8 + 2] * t18;
      }
      if (KROTON_ADDRESS(mul10, 0) % 8 == 0) {
        float mul10_together_1[2];
        #pragma unroll
        for (kt_index k_9 = 0; k_9 < 2; ++k_9) {
          mul10_together_1[k_9] = near_1[k_9];
        }
        KROTON_STORE(mul10, t_2 * 2 + b * 100 + 64, mul10_together_1);
      } else {
        #pragma unroll
        for (kt_index k_9 = 0; k_9 < 2; ++k_9) {
          mul10[t_2 * 2 + k_9 + b * 100 + 64] = near_1[k_9];
        }
      }
    }
  }
}
)golden");
}

TEST_CASE("golden: a product with bias and relu for a GPU") {
  const Tensor x = matrix("x");
  const Tensor w = matrix("w");
  const Tensor b = vector("b");
  check_golden("product", gpu_dump({x, w, b}, {relu(dot(x, w) + b)}), R"golden(
== loop
program golden  arena 256*floor_div(-x.shape[0]*w.shape[1]*min(floor_div(floor_div(w.shape[1] + 127,
        128)*floor_div(x.shape[0] + 127, 128), 133), 1)*min(floor_div(x.shape[1], 257),
        1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
        1)), 1)*floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(floor_div(x.shape[1] +
        15, 16) - 1, max(floor_div(264, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] +
        63, 64), 1)), 1)) + 1, 8)) - x.shape[0]*w.shape[1]*min(floor_div(floor_div(w.shape[1] + 127,
        128)*floor_div(x.shape[0] + 127, 128), 133), 1)*min(floor_div(x.shape[1], 257),
        1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
        1)), 1) + x.shape[0]*w.shape[1]*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132,
        max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)),
        1)*floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(floor_div(x.shape[1] + 15,
        16) - 1, max(floor_div(264, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
        64), 1)), 1)) + 1, 8)) + x.shape[0]*w.shape[1]*min(floor_div(x.shape[1], 257),
        1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
        1)), 1) + 63, 64) bytes
  buffer 4 at 0
# line 1
kernel k0_dot_add_relu(in x: f32[x.shape[0]*x.shape[1]], in w: f32[x.shape[1]*w.shape[1]], out
        partial: f32[-x.shape[0]*w.shape[1]*min(floor_div(floor_div(w.shape[1] + 127,
        128)*floor_div(x.shape[0] + 127, 128), 133), 1)*min(floor_div(x.shape[1], 257),
        1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
        1)), 1)*floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(floor_div(x.shape[1] +
        15, 16) - 1, max(floor_div(264, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] +
        63, 64), 1)), 1)) + 1, 8)) - x.shape[0]*w.shape[1]*min(floor_div(floor_div(w.shape[1] + 127,
        128)*floor_div(x.shape[0] + 127, 128), 133), 1)*min(floor_div(x.shape[1], 257),
        1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
        1)), 1) + x.shape[0]*w.shape[1]*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132,
        max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)),
        1)*floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(floor_div(x.shape[1] + 15,
        16) - 1, max(floor_div(264, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
        64), 1)), 1)) + 1, 8)) + x.shape[0]*w.shape[1]*min(floor_div(x.shape[1], 257),
        1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
        1)), 1)]) work (2*x.shape[0]*x.shape[1]*w.shape[1] + 3*x.shape[0]*w.shape[1]) {
  block<256> for block in 0..(-min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] +
          127, 128), 133), 1)*floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
          64)*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132, max(floor_div(w.shape[1] + 63,
          64)*floor_div(x.shape[0] + 63, 64), 1)), 1)*floor_div(floor_div(x.shape[1] + 15, 16) - 1,
          max(floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(264,
          max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1)) + 1, 8)) -
          min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127, 128), 133),
          1)*floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64)*min(floor_div(x.shape[1],
          257), 1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
          64), 1)), 1) + floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
          64)*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132, max(floor_div(w.shape[1] + 63,
          64)*floor_div(x.shape[0] + 63, 64), 1)), 1)*floor_div(floor_div(x.shape[1] + 15, 16) - 1,
          max(floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(264,
          max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1)) + 1, 8)) +
          floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64)*min(floor_div(x.shape[1],
          257), 1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
          64), 1)), 1)) {
    var tile_column: i64 = mod(block, floor_div(w.shape[1] + 63, 64))
    var tile_row: i64 = mod(floor_div(block, floor_div(w.shape[1] + 63, 64)), floor_div(x.shape[0] +
            63, 64))
    var part: i64 = floor_div(block, floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64))
    shared a_slice: f32[1088]
    shared b_slice: f32[1088]
    registers sums: f32[16]
    registers a_next: f32[4]
    registers b_next: f32[4]
    registers totals: f32[16]
    thread for t in 0..256 {
      unroll for i in 0..4 {
        unroll for j in 0..4 {
          totals[i*4 + j] = 0.0
        }
      }
    }
    thread for t_1 in 0..256 {
      let t1 = part*(16*max(floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(264,
              max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1)) + 1, 8)) +
              mod(t_1, 16)
      let t2 = t1 < x.shape[1]
      unroll for n in 0..4 {
        let t3 = tile_row*64 + (n*16 + floor_div(t_1, 16))
        a_next[n] = x[t1 + t3*x.shape[1] if t2 and t3 < x.shape[0]]
      }
    }
    thread for t_2 in 0..256 {
      let t4 = tile_column*64 + mod(t_2, 64)
      let t5 = t4 < w.shape[1]
      unroll for n_1 in 0..4 {
        let t6 = part*(16*max(floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(264,
                max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1)) + 1, 8))
                + (n_1*4 + floor_div(t_2, 64))
        b_next[n_1] = w[t4 + t6*w.shape[1] if t6 < x.shape[1] and t5]
      }
    }
    let t7 = min((floor_div(x.shape[1] + 15, 16)) - part*(max(floor_div(floor_div(x.shape[1] + 15,
            16) - 1, max(floor_div(264, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] +
            63, 64), 1)), 1)) + 1, 8)), max(floor_div(floor_div(x.shape[1] + 15, 16) - 1,
            max(floor_div(264, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
            1)), 1)) + 1, 8))
    for block_1 in 0..floor_div(t7 + 31, 32) {
      thread for t_3 in 0..256 {
        unroll for i_1 in 0..4 {
          unroll for j_1 in 0..4 {
            sums[i_1*4 + j_1] = 0.0
          }
        }
      }
      for step in 0..min(t7 - block_1*32, 32) {
        thread for t_4 in 0..256 {
          unroll for n_2 in 0..4 {
            a_slice[mod(t_4, 16)*68 + n_2*16 + floor_div(t_4, 16)] = a_next[n_2]
          }
        }
        thread for t_5 in 0..256 {
          unroll for n_3 in 0..4 {
            b_slice[n_3*272 + floor_div(t_5, 64)*68 + mod(t_5, 64)] = b_next[n_3]
          }
        }
        barrier
        let t8 = (part*(max(floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(264,
                max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1)) + 1, 8))
                + (block_1*32 + step) + 1)*16
        thread for t_6 in 0..256 {
          let t9 = t8 + mod(t_6, 16)
          let t10 = t9 < x.shape[1]
          unroll for n_4 in 0..4 {
            let t11 = tile_row*64 + (n_4*16 + floor_div(t_6, 16))
            a_next[n_4] = x[t9 + t11*x.shape[1] if t10 and t11 < x.shape[0]]
          }
        }
        thread for t_7 in 0..256 {
          let t12 = tile_column*64 + mod(t_7, 64)
          let t13 = t12 < w.shape[1]
          unroll for n_5 in 0..4 {
            let t14 = t8 + (n_5*4 + floor_div(t_7, 64))
            b_next[n_5] = w[t12 + t14*w.shape[1] if t14 < x.shape[1] and t13]
          }
        }
        thread for t_8 in 0..256 {
          unroll for k in 0..16 {
            let t15 = k*68 + floor_div(t_8, 16)*4
            let t16 = k*68 + mod(t_8, 16)*4
            unroll for i_2 in 0..4 {
              let t17 = a_slice[t15 + i_2]
              unroll for j_2 in 0..4 {
                sums[i_2*4 + j_2] = fma(t17, b_slice[t16 + j_2], sums[i_2*4 + j_2])
              }
            }
          }
        }
        barrier
      }
      thread for t_9 in 0..256 {
        unroll for i_3 in 0..4 {
          unroll for j_3 in 0..4 {
            totals[i_3*4 + j_3] = totals[i_3*4 + j_3] + sums[i_3*4 + j_3]
          }
        }
      }
    }
    thread for t_10 in 0..256 {
      unroll for i_4 in 0..4 {
        let t18 = tile_row*64 + (floor_div(t_10, 16)*4 + i_4)
        let t19 = t18 < x.shape[0]
        let t20 = (part*x.shape[0] + t18)*w.shape[1]
        unroll for j_4 in 0..1 {
          let t21 = tile_column*64 + (mod(t_10, 16)*4 + j_4*4)
          let t22 = min(w.shape[1] - t21, 4)
          let t23 = i_4*4 + j_4*4
          if t19 {
            vector<4 unrolled 4> for next in 0..t22 {
              partial[t20 + (t21 + next)] = totals[t23 + next]
            }
          }
        }
      }
    }
  }
}
# line 1
kernel k1_dot_add_relu(in b: f32[w.shape[1]], in partial:
        f32[-x.shape[0]*w.shape[1]*min(floor_div(floor_div(w.shape[1] + 127,
        128)*floor_div(x.shape[0] + 127, 128), 133), 1)*min(floor_div(x.shape[1], 257),
        1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
        1)), 1)*floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(floor_div(x.shape[1] +
        15, 16) - 1, max(floor_div(264, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] +
        63, 64), 1)), 1)) + 1, 8)) - x.shape[0]*w.shape[1]*min(floor_div(floor_div(w.shape[1] + 127,
        128)*floor_div(x.shape[0] + 127, 128), 133), 1)*min(floor_div(x.shape[1], 257),
        1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
        1)), 1) + x.shape[0]*w.shape[1]*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132,
        max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)),
        1)*floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(floor_div(x.shape[1] + 15,
        16) - 1, max(floor_div(264, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
        64), 1)), 1)) + 1, 8)) + x.shape[0]*w.shape[1]*min(floor_div(x.shape[1], 257),
        1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
        1)), 1)], out relu6: f32[x.shape[0]*w.shape[1]]) work
        (x.shape[0]*w.shape[1]*floor_div(floor_div(x.shape[1] + 15, 16) - 1,
        max(floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(264,
        max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1)) + 1, 8)) +
        x.shape[0]*w.shape[1]) {
  block<512> for b_1 in 0..(-min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] +
          127, 128), 133), 1)*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132,
          max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)),
          1)*floor_div(x.shape[0]*w.shape[1] + 31, 32) + min(floor_div(x.shape[1], 257),
          1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
          1)), 1)*floor_div(x.shape[0]*w.shape[1] + 31, 32)) {
    shared partial_1: f32[512]
    thread for t in 0..512 {
      let t1 = floor_div((floor_div(floor_div(x.shape[1] + 15, 16) - 1,
              max(floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(264,
              max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1)) + 1, 8)) +
              16) - floor_div(t, 32), 16)
      let t2 = floor_div(t1 + 511, 512)
      let t3 = floor_div(t2 + 511, 512)
      let t4 = b_1*32 + mod(t, 32)
      let t5 = floor_div(t4, w.shape[1])*w.shape[1]
      let t6 = mod(t4, w.shape[1])
      if mod(t, 32) < (x.shape[0]*w.shape[1]) - b_1*32 {
        var sum: f32 = 0.0
        for block in 0..t3 {
          var sum_1: f32 = -0.0
          for block_1 in 0..min(t2 - block*512, 512) {
            var sum_2: f32 = -0.0
            let t7 = (block*512 + block_1)*512
            for k in 0..min(t1 - t7, 512) {
              sum_2 += partial[((t7 + k)*16 + floor_div(t, 32))*(x.shape[0]*w.shape[1]) + t5 + t6]
            }
            sum_1 += sum_2
          }
          sum += sum_1
        }
        partial_1[t] = sum
      }
    }
    barrier
    thread for c in 0..min((x.shape[0]*w.shape[1]) - b_1*32, 32) {
      var sum: f32 = 0.0
      unroll for g in 0..16 {
        sum += partial_1[g*32 + c]
      }
      relu6[b_1*32 + c] = max(sum + b[mod(b_1*32 + c, w.shape[1])], 0.0)
    }
  }
}
# line 1
kernel k2_dot_add_relu(in x: f32[x.shape[0]*x.shape[1]], in w: f32[x.shape[1]*w.shape[1]], in b:
        f32[w.shape[1]], out relu6: f32[x.shape[0]*w.shape[1]]) work
        (2*x.shape[0]*x.shape[1]*w.shape[1] + 3*x.shape[0]*w.shape[1]) {
  block<256> for block in 0..(min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] +
          127, 128), 133), 1)*floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
          64)*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132, max(floor_div(w.shape[1] + 63,
          64)*floor_div(x.shape[0] + 63, 64), 1)), 1) - floor_div(w.shape[1] + 63,
          64)*floor_div(x.shape[0] + 63, 64)*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132,
          max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1) -
          min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127, 128), 133),
          1)*floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64) + floor_div(w.shape[1] +
          63, 64)*floor_div(x.shape[0] + 63, 64)) {
    var tile_column: i64 = mod(block, floor_div(w.shape[1] + 63, 64))
    var tile_row: i64 = floor_div(block, floor_div(w.shape[1] + 63, 64))
    shared a_slice: f32[1088]
    shared b_slice: f32[1088]
    registers sums: f32[16]
    registers a_next: f32[4]
    registers b_next: f32[4]
    registers totals: f32[16]
    thread for t in 0..256 {
      unroll for i in 0..4 {
        unroll for j in 0..4 {
          totals[i*4 + j] = 0.0
        }
      }
    }
    thread for t_1 in 0..256 {
      let t1 = mod(t_1, 16) < x.shape[1]
      unroll for n in 0..4 {
        let t2 = tile_row*64 + (n*16 + floor_div(t_1, 16))
        a_next[n] = x[mod(t_1, 16) + t2*x.shape[1] if t1 and t2 < x.shape[0]]
      }
    }
    thread for t_2 in 0..256 {
      let t3 = tile_column*64 + mod(t_2, 64)
      let t4 = t3 < w.shape[1]
      unroll for n_1 in 0..4 {
        b_next[n_1] = w[t3 + (n_1*(4*w.shape[1]) + floor_div(t_2, 64)*w.shape[1]) if n_1*4 +
                floor_div(t_2, 64) < x.shape[1] and t4]
      }
    }
    for block_1 in 0..(floor_div(x.shape[1] + 511, 512)) {
      thread for t_3 in 0..256 {
        unroll for i_1 in 0..4 {
          unroll for j_1 in 0..4 {
            sums[i_1*4 + j_1] = 0.0
          }
        }
      }
      for step in 0..min((floor_div(x.shape[1] + 15, 16)) - block_1*32, 32) {
        thread for t_4 in 0..256 {
          unroll for n_2 in 0..4 {
            a_slice[mod(t_4, 16)*68 + n_2*16 + floor_div(t_4, 16)] = a_next[n_2]
          }
        }
        thread for t_5 in 0..256 {
          unroll for n_3 in 0..4 {
            b_slice[n_3*272 + floor_div(t_5, 64)*68 + mod(t_5, 64)] = b_next[n_3]
          }
        }
        barrier
        let t5 = block_1*512 + step*16
        thread for t_6 in 0..256 {
          let t6 = t5 + mod(t_6, 16) + 16
          let t7 = t6 < x.shape[1]
          unroll for n_4 in 0..4 {
            let t8 = tile_row*64 + (n_4*16 + floor_div(t_6, 16))
            a_next[n_4] = x[t6 + t8*x.shape[1] if t7 and t8 < x.shape[0]]
          }
        }
        let t9 = block_1*(512*w.shape[1]) + step*(16*w.shape[1])
        thread for t_7 in 0..256 {
          let t10 = tile_column*64 + mod(t_7, 64)
          let t11 = t10 < w.shape[1]
          unroll for n_5 in 0..4 {
            b_next[n_5] = w[t10 + (t9 + n_5*(4*w.shape[1]) + floor_div(t_7, 64)*w.shape[1] +
                    (16*w.shape[1])) if t5 + n_5*4 + floor_div(t_7, 64) + 16 < x.shape[1] and t11]
          }
        }
        thread for t_8 in 0..256 {
          unroll for k in 0..16 {
            let t12 = k*68 + floor_div(t_8, 16)*4
            let t13 = k*68 + mod(t_8, 16)*4
            unroll for i_2 in 0..4 {
              let t14 = a_slice[t12 + i_2]
              unroll for j_2 in 0..4 {
                sums[i_2*4 + j_2] = fma(t14, b_slice[t13 + j_2], sums[i_2*4 + j_2])
              }
            }
          }
        }
        barrier
      }
      thread for t_9 in 0..256 {
        unroll for i_3 in 0..4 {
          unroll for j_3 in 0..4 {
            totals[i_3*4 + j_3] = totals[i_3*4 + j_3] + sums[i_3*4 + j_3]
          }
        }
      }
    }
    thread for t_10 in 0..256 {
      unroll for i_4 in 0..4 {
        let t15 = tile_row*64 + (floor_div(t_10, 16)*4 + i_4)
        let t16 = t15 < x.shape[0]
        let t17 = t15*w.shape[1]
        unroll for j_4 in 0..1 {
          let t18 = tile_column*64 + (mod(t_10, 16)*4 + j_4*4)
          let t19 = min(w.shape[1] - t18, 4)
          let t20 = i_4*4 + j_4*4
          if t16 {
            vector<4 unrolled 4> for next in 0..t19 {
              let t21 = t18 + next
              relu6[t21 + t17] = max(totals[t20 + next] + b[t21], 0.0)
            }
          }
        }
      }
    }
  }
}
# line 1
kernel k3_dot_add_relu(in x: f32[x.shape[0]*x.shape[1]], in w: f32[x.shape[1]*w.shape[1]], in b:
        f32[w.shape[1]], out relu6: f32[x.shape[0]*w.shape[1]]) work
        (2*x.shape[0]*x.shape[1]*w.shape[1] + 3*x.shape[0]*w.shape[1]) {
  block<256> for block in 0..(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127,
          128)*min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127, 128),
          133), 1)) {
    var tile_column: i64 = mod(block, floor_div(w.shape[1] + 127, 128))
    var tile_row: i64 = floor_div(block, floor_div(w.shape[1] + 127, 128))
    shared a_slice: f32[1056]
    shared b_slice: f32[1056]
    registers sums: f32[64]
    registers a_next: f32[4]
    registers b_next: f32[4]
    registers totals: f32[64]
    thread for t in 0..256 {
      unroll for i in 0..8 {
        unroll for j in 0..8 {
          totals[i*8 + j] = 0.0
        }
      }
    }
    thread for t_1 in 0..256 {
      let t1 = mod(t_1, 8) < x.shape[1]
      unroll for n in 0..4 {
        let t2 = tile_row*128 + (n*32 + floor_div(t_1, 8))
        a_next[n] = x[mod(t_1, 8) + t2*x.shape[1] if t1 and t2 < x.shape[0]]
      }
    }
    thread for t_2 in 0..256 {
      let t3 = tile_column*128 + mod(t_2, 128)
      let t4 = t3 < w.shape[1]
      unroll for n_1 in 0..4 {
        b_next[n_1] = w[t3 + (n_1*(2*w.shape[1]) + floor_div(t_2, 128)*w.shape[1]) if n_1*2 +
                floor_div(t_2, 128) < x.shape[1] and t4]
      }
    }
    for block_1 in 0..(floor_div(x.shape[1] + 511, 512)) {
      thread for t_3 in 0..256 {
        unroll for i_1 in 0..8 {
          unroll for j_1 in 0..8 {
            sums[i_1*8 + j_1] = 0.0
          }
        }
      }
      for step in 0..min((floor_div(x.shape[1] + 7, 8)) - block_1*64, 64) {
        thread for t_4 in 0..256 {
          unroll for n_2 in 0..4 {
            a_slice[mod(t_4, 8)*132 + n_2*32 + floor_div(t_4, 8)] = a_next[n_2]
          }
        }
        thread for t_5 in 0..256 {
          unroll for n_3 in 0..4 {
            b_slice[n_3*264 + floor_div(t_5, 128)*132 + mod(t_5, 128)] = b_next[n_3]
          }
        }
        barrier
        let t5 = block_1*512 + step*8
        thread for t_6 in 0..256 {
          let t6 = t5 + mod(t_6, 8) + 8
          let t7 = t6 < x.shape[1]
          unroll for n_4 in 0..4 {
            let t8 = tile_row*128 + (n_4*32 + floor_div(t_6, 8))
            a_next[n_4] = x[t6 + t8*x.shape[1] if t7 and t8 < x.shape[0]]
          }
        }
        let t9 = block_1*(512*w.shape[1]) + step*(8*w.shape[1])
        thread for t_7 in 0..256 {
          let t10 = tile_column*128 + mod(t_7, 128)
          let t11 = t10 < w.shape[1]
          unroll for n_5 in 0..4 {
            b_next[n_5] = w[t10 + (t9 + n_5*(2*w.shape[1]) + floor_div(t_7, 128)*w.shape[1] +
                    (8*w.shape[1])) if t5 + n_5*2 + floor_div(t_7, 128) + 8 < x.shape[1] and t11]
          }
        }
        thread for t_8 in 0..256 {
          unroll for k in 0..8 {
            let t12 = k*132 + floor_div(t_8, 16)*8
            unroll for i_2 in 0..8 {
              let t13 = a_slice[t12 + i_2]
              unroll for j_2 in 0..8 {
                sums[i_2*8 + j_2] = fma(t13, b_slice[k*132 + floor_div(j_2, 4)*64 + mod(t_8, 16)*4 +
                        mod(j_2, 4)], sums[i_2*8 + j_2])
              }
            }
          }
        }
        barrier
      }
      thread for t_9 in 0..256 {
        unroll for i_3 in 0..8 {
          unroll for j_3 in 0..8 {
            totals[i_3*8 + j_3] = totals[i_3*8 + j_3] + sums[i_3*8 + j_3]
          }
        }
      }
    }
    thread for t_10 in 0..256 {
      unroll for i_4 in 0..8 {
        let t14 = tile_row*128 + (floor_div(t_10, 16)*8 + i_4)
        let t15 = t14 < x.shape[0]
        let t16 = t14*w.shape[1]
        unroll for j_4 in 0..2 {
          let t17 = tile_column*128 + (j_4*64 + mod(t_10, 16)*4)
          let t18 = min(w.shape[1] - t17, 4)
          let t19 = i_4*8 + j_4*4
          if t15 {
            vector<4 unrolled 4> for next in 0..t18 {
              let t20 = t17 + next
              relu6[t20 + t16] = max(totals[t19 + next] + b[t20], 0.0)
            }
          }
        }
      }
    }
  }
}
== k0_dot_add_relu: -min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127,
        128), 133), 1)*floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
        64)*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132, max(floor_div(w.shape[1] + 63,
        64)*floor_div(x.shape[0] + 63, 64), 1)), 1)*floor_div(floor_div(x.shape[1] + 15, 16) - 1,
        max(floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(264,
        max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1)) + 1, 8)) -
        min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127, 128), 133),
        1)*floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64)*min(floor_div(x.shape[1],
        257), 1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
        64), 1)), 1) + floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
        64)*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132, max(floor_div(w.shape[1] + 63,
        64)*floor_div(x.shape[0] + 63, 64), 1)), 1)*floor_div(floor_div(x.shape[1] + 15, 16) - 1,
        max(floor_div(floor_div(x.shape[1] + 15, 16) - 1, max(floor_div(264,
        max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1)) + 1, 8)) +
        floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64)*min(floor_div(x.shape[1],
        257), 1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
        64), 1)), 1) blocks of 256 threads
== k1_dot_add_relu: -min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127,
        128), 133), 1)*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132,
        max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)),
        1)*floor_div(x.shape[0]*w.shape[1] + 31, 32) + min(floor_div(x.shape[1], 257),
        1)*min(floor_div(132, max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64),
        1)), 1)*floor_div(x.shape[0]*w.shape[1] + 31, 32) blocks of 512 threads
== k2_dot_add_relu: min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127, 128),
        133), 1)*floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63,
        64)*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132, max(floor_div(w.shape[1] + 63,
        64)*floor_div(x.shape[0] + 63, 64), 1)), 1) - floor_div(w.shape[1] + 63,
        64)*floor_div(x.shape[0] + 63, 64)*min(floor_div(x.shape[1], 257), 1)*min(floor_div(132,
        max(floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64), 1)), 1) -
        min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127, 128), 133),
        1)*floor_div(w.shape[1] + 63, 64)*floor_div(x.shape[0] + 63, 64) + floor_div(w.shape[1] +
        63, 64)*floor_div(x.shape[0] + 63, 64) blocks of 256 threads
== k3_dot_add_relu: floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127,
        128)*min(floor_div(floor_div(w.shape[1] + 127, 128)*floor_div(x.shape[0] + 127, 128), 133),
        1) blocks of 256 threads

// line 1
extern "C" __global__ void __launch_bounds__(256, 2) k0_dot_add_relu(
    KROTON_GLOBAL(const float) x,
    KROTON_GLOBAL(const float) w,
    KROTON_GLOBAL(float) partial,
    kt_index x_shape_0,
    kt_index x_shape_1,
    kt_index w_shape_1,
    kt_index workers,
    kt_index size,
    kt_index size_1,
    kt_index size_2,
    kt_index size_3,
    unsigned long long by_size,
    unsigned long long by_size_1,
    unsigned long long by_size_size_1,
    kroton_error* error) {
  const kt_index block = blockIdx.x;
  const kt_index tile_column = kt_rest(block, size, by_size);
  const kt_index tile_row = kt_rest(kt_quotient(block, size, by_size), size_1, by_size_1);
  const kt_index part = kt_quotient(block, size * size_1, by_size_size_1);
  KROTON_SHARED(float, a_slice, 1088);
  KROTON_SHARED(float, b_slice, 1088);
  float sums[16];
  float a_next[4];
  float b_next[4];
  float totals[16];
  {
    #pragma unroll
    for (kt_index i = 0; i < 4; ++i) {
      #pragma unroll
      for (kt_index j = 0; j < 4; ++j) {
        totals[i * 4 + j] = 0.0f;
      }
    }
  }
  {
    const kt_index t_1 = threadIdx.x;
    const kt_index t1 = part * (size_2 * 16) + kt_rest(t_1, 16);
    const bool t2 = t1 < x_shape_1;
    #pragma unroll
    for (kt_index n = 0; n < 4; ++n) {
      const long long t3 = tile_row * 64 + (n * 16 + kt_quotient(t_1, 16));
      a_next[n] = (t2 && t3 < x_shape_0 ? x[t1 + t3 * x_shape_1] : 0.0f);
    }
  }
  {
    const kt_index t_2 = threadIdx.x;
    const kt_index t4 = tile_column * 64 + kt_rest(t_2, 64);
    const bool t5 = t4 < w_shape_1;
    #pragma unroll
    for (kt_index n_1 = 0; n_1 < 4; ++n_1) {
      const long long t6 = part * (size_2 * 16) + (n_1 * 4 + kt_quotient(t_2, 64));
      b_next[n_1] = (t6 < x_shape_1 && t5 ? w[t4 + t6 * w_shape_1] : 0.0f);
    }
  }
  const kt_index t7 = kt_least(size_3 - part * size_2, size_2);
  for (kt_index block_1 = 0; block_1 < kt_floor_quotient(t7 + 31, 32); ++block_1) {
    {
      #pragma unroll
      for (kt_index i_1 = 0; i_1 < 4; ++i_1) {
        #pragma unroll
        for (kt_index j_1 = 0; j_1 < 4; ++j_1) {
          sums[i_1 * 4 + j_1] = 0.0f;
        }
      }
    }
    for (kt_index step = 0; step < kt_least(t7 - block_1 * 32, 32); ++step) {
      {
        const kt_index t_4 = threadIdx.x;
        const kt_index t8 = kt_rest(t_4, 16) * 68;
        #pragma unroll
        for (kt_index n_2 = 0; n_2 < 4; ++n_2) {
          a_slice[t8 + n_2 * 16 + kt_quotient(t_4, 16)] = a_next[n_2];
        }
      }
      {
        const kt_index t_5 = threadIdx.x;
        const kt_index t9 = kt_quotient(t_5, 64) * 68;
        #pragma unroll
        for (kt_index n_3 = 0; n_3 < 4; ++n_3) {
          b_slice[n_3 * 272 + t9 + kt_rest(t_5, 64)] = b_next[n_3];
        }
      }
      __syncthreads();
      const kt_index t10 = (part * size_2 + (block_1 * 32 + step) + 1) * 16;
      {
        const kt_index t_6 = threadIdx.x;
        const kt_index t11 = t10 + kt_rest(t_6, 16);
        const bool t12 = t11 < x_shape_1;
        #pragma unroll
        for (kt_index n_4 = 0; n_4 < 4; ++n_4) {
          const long long t13 = tile_row * 64 + (n_4 * 16 + kt_quotient(t_6, 16));
          a_next[n_4] = (t12 && t13 < x_shape_0 ? x[t11 + t13 * x_shape_1] : 0.0f);
        }
      }
      {
        const kt_index t_7 = threadIdx.x;
        const kt_index t14 = tile_column * 64 + kt_rest(t_7, 64);
        const bool t15 = t14 < w_shape_1;
        #pragma unroll
        for (kt_index n_5 = 0; n_5 < 4; ++n_5) {
          const long long t16 = t10 + (n_5 * 4 + kt_quotient(t_7, 64));
          b_next[n_5] = (t16 < x_shape_1 && t15 ? w[t14 + t16 * w_shape_1] : 0.0f);
        }
      }
      {
        const kt_index t_8 = threadIdx.x;
        const kt_index t17 = kt_quotient(t_8, 16) * 4;
        const kt_index t18 = kt_rest(t_8, 16) * 4;
        #pragma unroll
        for (kt_index k = 0; k < 16; ++k) {
          const long long t19 = k * 68 + t17;
          const long long t20 = k * 68 + t18;
          #pragma unroll
          for (kt_index i_2 = 0; i_2 < 4; ++i_2) {
            const float t21 = a_slice[t19 + i_2];
            #pragma unroll
            for (kt_index j_2 = 0; j_2 < 4; ++j_2) {
              const long long t22 = i_2 * 4 + j_2;
              sums[t22] = fmaf(t21, b_slice[t20 + j_2], sums[t22]);
            }
          }
        }
      }
      __syncthreads();
    }
    {
      #pragma unroll
      for (kt_index i_3 = 0; i_3 < 4; ++i_3) {
        #pragma unroll
        for (kt_index j_3 = 0; j_3 < 4; ++j_3) {
          const long long t23 = i_3 * 4 + j_3;
          totals[t23] = totals[t23] + sums[t23];
        }
      }
    }
  }
  {
    const kt_index t_10 = threadIdx.x;
    const kt_index t24 = kt_quotient(t_10, 16) * 4;
    const kt_index t25 = kt_rest(t_10, 16) * 4;
    #pragma unroll
    for (kt_index i_4 = 0; i_4 < 4; ++i_4) {
      const long long t26 = tile_row * 64 + (t24 + i_4);
      const bool t27 = t26 < x_shape_0;
      const long long t28 = (part * x_shape_0 + t26) * w_shape_1;
      #pragma unroll
      for (kt_index j_4 = 0; j_4 < 1; ++j_4) {
        const long long t29 = tile_column * 64 + (t25 + j_4 * 4);
        const long long t30 = kt_least(w_shape_1 - t29, 4);
        const long long t31 = i_4 * 4 + j_4 * 4;
        if (t27) {
          if (t30 >= 4 && KROTON_ADDRESS(partial, t28 + t29) % 16 == 0) {
            float partial_together[4];
            #pragma unroll
            for (kt_index next = 0; next < 4; ++next) {
              partial_together[next] = totals[t31 + next];
            }
            KROTON_STORE(partial, t28 + t29, partial_together);
          } else {
            #pragma unroll
            for (kt_index next = 0; next < 4; ++next) {
              if (next < t30) {
                partial[t28 + (t29 + next)] = totals[t31 + next];
              }
            }
          }
        }
      }
    }
  }
}

// line 1
extern "C" __global__ void __launch_bounds__(512, 1) k1_dot_add_relu(
    KROTON_GLOBAL(const float) b,
    KROTON_GLOBAL(const float) partial,
    KROTON_GLOBAL(float) relu6,
    kt_index x_shape_0,
    kt_index x_shape_1,
    kt_index w_shape_1,
    kt_index workers,
    kt_index size,
    unsigned long long by_w_shape_1,
    kroton_error* error) {
  const kt_index b_1 = blockIdx.x;
  KROTON_SHARED(float, partial_1, 512);
  const kt_index t1 = x_shape_0 * w_shape_1 - b_1 * 32;
  {
    const kt_index t = threadIdx.x;
    const kt_index t2 = kt_floor_quotient(size + 16 - kt_quotient(t, 32), 16);
    const kt_index t3 = kt_floor_quotient(t2 + 511, 512);
    const kt_index t4 = kt_floor_quotient(t3 + 511, 512);
    const kt_index t5 = b_1 * 32 + kt_rest(t, 32);
    const kt_index t6 = kt_quotient(t5, w_shape_1, by_w_shape_1) * w_shape_1;
    const kt_index t7 = kt_rest(t5, w_shape_1, by_w_shape_1);
    if (kt_rest(t, 32) < t1) {
      float sum = 0.0f;
      for (kt_index block = 0; block < t4; ++block) {
        float sum_1 = (-0.0f);
        for (kt_index block_1 = 0; block_1 < kt_least(t3 - block * 512, 512); ++block_1) {
          float sum_2 = (-0.0f);
          const kt_index t8 = (block * 512 + block_1) * 512;
          for (kt_index k = 0; k < kt_least(t2 - t8, 512); ++k) {
            sum_2 = sum_2 + partial[((t8 + k) * 16 + kt_quotient(t, 32)) * (x_shape_0 * w_shape_1) +
                    t6 + t7];
          }
          sum_1 = sum_1 + sum_2;
        }
        sum = sum + sum_1;
      }
      partial_1[t] = sum;
    }
  }
  __syncthreads();
  if ((kt_index)threadIdx.x < kt_least(t1, 32)) {
    const kt_index c = threadIdx.x;
    float sum = 0.0f;
    #pragma unroll
    for (kt_index g = 0; g < 16; ++g) {
      sum = sum + partial_1[g * 32 + c];
    }
    const kt_index t9 = b_1 * 32 + c;
    relu6[t9] = kt_max(sum + b[kt_rest(t9, w_shape_1, by_w_shape_1)], 0.0f);
  }
}

// line 1
extern "C" __global__ void __launch_bounds__(256, 2) k2_dot_add_relu(
    KROTON_GLOBAL(const float) x,
    KROTON_GLOBAL(const float) w,
    KROTON_GLOBAL(const float) b,
    KROTON_GLOBAL(float) relu6,
    kt_index x_shape_0,
    kt_index x_shape_1,
    kt_index w_shape_1,
    kt_index workers,
    kt_index size,
    kt_index size_1,
    kt_index size_2,
    unsigned long long by_size,
    kroton_error* error) {
  const kt_index block = blockIdx.x;
  const kt_index tile_column = kt_rest(block, size, by_size);
  const kt_index tile_row = kt_quotient(block, size, by_size);
  KROTON_SHARED(float, a_slice, 1088);
  KROTON_SHARED(float, b_slice, 1088);
  float sums[16];
  float a_next[4];
  float b_next[4];
  float totals[16];
  {
    #pragma unroll
    for (kt_index i = 0; i < 4; ++i) {
      #pragma unroll
      for (kt_index j = 0; j < 4; ++j) {
        totals[i * 4 + j] = 0.0f;
      }
    }
  }
  {
    const kt_index t_1 = threadIdx.x;
    const bool t1 = kt_rest(t_1, 16) < x_shape_1;
    #pragma unroll
    for (kt_index n = 0; n < 4; ++n) {
      const long long t2 = tile_row * 64 + (n * 16 + kt_quotient(t_1, 16));
      a_next[n] = (t1 && t2 < x_shape_0 ? x[kt_rest(t_1, 16) + t2 * x_shape_1] : 0.0f);
    }
  }
  {
    const kt_index t_2 = threadIdx.x;
    const kt_index t3 = tile_column * 64 + kt_rest(t_2, 64);
    const kt_index t4 = kt_quotient(t_2, 64) * w_shape_1;
    const bool t5 = t3 < w_shape_1;
    #pragma unroll
    for (kt_index n_1 = 0; n_1 < 4; ++n_1) {
      b_next[n_1] = (n_1 * 4 + kt_quotient(t_2, 64) < x_shape_1 && t5 ? w[t3 + (n_1 * (w_shape_1 *
              4) + t4)] : 0.0f);
    }
  }
  for (kt_index block_1 = 0; block_1 < size_1; ++block_1) {
    {
      #pragma unroll
      for (kt_index i_1 = 0; i_1 < 4; ++i_1) {
        #pragma unroll
        for (kt_index j_1 = 0; j_1 < 4; ++j_1) {
          sums[i_1 * 4 + j_1] = 0.0f;
        }
      }
    }
    for (kt_index step = 0; step < kt_least(size_2 - block_1 * 32, 32); ++step) {
      {
        const kt_index t_4 = threadIdx.x;
        const kt_index t6 = kt_rest(t_4, 16) * 68;
        #pragma unroll
        for (kt_index n_2 = 0; n_2 < 4; ++n_2) {
          a_slice[t6 + n_2 * 16 + kt_quotient(t_4, 16)] = a_next[n_2];
        }
      }
      {
        const kt_index t_5 = threadIdx.x;
        const kt_index t7 = kt_quotient(t_5, 64) * 68;
        #pragma unroll
        for (kt_index n_3 = 0; n_3 < 4; ++n_3) {
          b_slice[n_3 * 272 + t7 + kt_rest(t_5, 64)] = b_next[n_3];
        }
      }
      __syncthreads();
      const kt_index t8 = block_1 * 512 + step * 16;
      {
        const kt_index t_6 = threadIdx.x;
        const kt_index t9 = t8 + kt_rest(t_6, 16) + 16;
        const bool t10 = t9 < x_shape_1;
        #pragma unroll
        for (kt_index n_4 = 0; n_4 < 4; ++n_4) {
          const long long t11 = tile_row * 64 + (n_4 * 16 + kt_quotient(t_6, 16));
          a_next[n_4] = (t10 && t11 < x_shape_0 ? x[t9 + t11 * x_shape_1] : 0.0f);
        }
      }
      const kt_index t12 = block_1 * (w_shape_1 * 512) + step * (w_shape_1 * 16);
      {
        const kt_index t_7 = threadIdx.x;
        const kt_index t13 = tile_column * 64 + kt_rest(t_7, 64);
        const kt_index t14 = kt_quotient(t_7, 64) * w_shape_1;
        const bool t15 = t13 < w_shape_1;
        #pragma unroll
        for (kt_index n_5 = 0; n_5 < 4; ++n_5) {
          b_next[n_5] = (t8 + n_5 * 4 + kt_quotient(t_7, 64) + 16 < x_shape_1 && t15 ? w[t13 + (t12
                  + n_5 * (w_shape_1 * 4) + t14 + w_shape_1 * 16)] : 0.0f);
        }
      }
      {
        const kt_index t_8 = threadIdx.x;
        const kt_index t16 = kt_quotient(t_8, 16) * 4;
        const kt_index t17 = kt_rest(t_8, 16) * 4;
        #pragma unroll
        for (kt_index k = 0; k < 16; ++k) {
          const long long t18 = k * 68 + t16;
          const long long t19 = k * 68 + t17;
          #pragma unroll
          for (kt_index i_2 = 0; i_2 < 4; ++i_2) {
            const float t20 = a_slice[t18 + i_2];
            #pragma unroll
            for (kt_index j_2 = 0; j_2 < 4; ++j_2) {
              const long long t21 = i_2 * 4 + j_2;
              sums[t21] = fmaf(t20, b_slice[t19 + j_2], sums[t21]);
            }
          }
        }
      }
      __syncthreads();
    }
    {
      #pragma unroll
      for (kt_index i_3 = 0; i_3 < 4; ++i_3) {
        #pragma unroll
        for (kt_index j_3 = 0; j_3 < 4; ++j_3) {
          const long long t22 = i_3 * 4 + j_3;
          totals[t22] = totals[t22] + sums[t22];
        }
      }
    }
  }
  {
    const kt_index t_10 = threadIdx.x;
    const kt_index t23 = kt_quotient(t_10, 16) * 4;
    const kt_index t24 = kt_rest(t_10, 16) * 4;
    #pragma unroll
    for (kt_index i_4 = 0; i_4 < 4; ++i_4) {
      const long long t25 = tile_row * 64 + (t23 + i_4);
      const bool t26 = t25 < x_shape_0;
      const long long t27 = t25 * w_shape_1;
      #pragma unroll
      for (kt_index j_4 = 0; j_4 < 1; ++j_4) {
        const long long t28 = tile_column * 64 + (t24 + j_4 * 4);
        const long long t29 = kt_least(w_shape_1 - t28, 4);
        const long long t30 = i_4 * 4 + j_4 * 4;
        if (t26) {
          if (t29 >= 4 && KROTON_ADDRESS(b, 0) % 16 == 0 && KROTON_ADDRESS(relu6, t28 + t27) % 16 ==
                  0) {
            float b_together[4];
            KROTON_LOAD(b_together, b, t28);
            float relu6_together[4];
            #pragma unroll
            for (kt_index next = 0; next < 4; ++next) {
              const long long t31 = t28 + next;
              relu6_together[next] = kt_max(totals[t30 + next] + b_together[next], 0.0f);
            }
            KROTON_STORE(relu6, t28 + t27, relu6_together);
          } else {
            #pragma unroll
            for (kt_index next = 0; next < 4; ++next) {
              if (next < t29) {
                const long long t32 = t28 + next;
                relu6[t32 + t27] = kt_max(totals[t30 + next] + b[t32], 0.0f);
              }
            }
          }
        }
      }
    }
  }
}

// line 1
extern "C" __global__ void __launch_bounds__(256, 1) k3_dot_add_relu(
    KROTON_GLOBAL(const float) x,
    KROTON_GLOBAL(const float) w,
    KROTON_GLOBAL(const float) b,
    KROTON_GLOBAL(float) relu6,
    kt_index x_shape_0,
    kt_index x_shape_1,
    kt_index w_shape_1,
    kt_index workers,
    kt_index size,
    kt_index size_1,
    kt_index size_2,
    unsigned long long by_size,
    kroton_error* error) {
  const kt_index block = blockIdx.x;
  const kt_index tile_column = kt_rest(block, size, by_size);
  const kt_index tile_row = kt_quotient(block, size, by_size);
  KROTON_SHARED(float, a_slice, 1056);
  KROTON_SHARED(float, b_slice, 1056);
  float sums[64];
  float a_next[4];
  float b_next[4];
  float totals[64];
  {
    #pragma unroll
    for (kt_index i = 0; i < 8; ++i) {
      #pragma unroll
      for (kt_index j = 0; j < 8; ++j) {
        totals[i * 8 + j] = 0.0f;
      }
    }
  }
  {
    const kt_index t_1 = threadIdx.x;
    const bool t1 = kt_rest(t_1, 8) < x_shape_1;
    #pragma unroll
    for (kt_index n = 0; n < 4; ++n) {
      const long long t2 = tile_row * 128 + (n * 32 + kt_quotient(t_1, 8));
      a_next[n] = (t1 && t2 < x_shape_0 ? x[kt_rest(t_1, 8) + t2 * x_shape_1] : 0.0f);
    }
  }
  {
    const kt_index t_2 = threadIdx.x;
    const kt_index t3 = tile_column * 128 + kt_rest(t_2, 128);
    const kt_index t4 = kt_quotient(t_2, 128) * w_shape_1;
    const bool t5 = t3 < w_shape_1;
    #pragma unroll
    for (kt_index n_1 = 0; n_1 < 4; ++n_1) {
      b_next[n_1] = (n_1 * 2 + kt_quotient(t_2, 128) < x_shape_1 && t5 ? w[t3 + (n_1 * (w_shape_1 *
              2) + t4)] : 0.0f);
    }
  }
  for (kt_index block_1 = 0; block_1 < size_1; ++block_1) {
    {
      #pragma unroll
      for (kt_index i_1 = 0; i_1 < 8; ++i_1) {
        #pragma unroll
        for (kt_index j_1 = 0; j_1 < 8; ++j_1) {
          sums[i_1 * 8 + j_1] = 0.0f;
        }
      }
    }
    for (kt_index step = 0; step < kt_least(size_2 - block_1 * 64, 64); ++step) {
      {
        const kt_index t_4 = threadIdx.x;
        const kt_index t6 = kt_rest(t_4, 8) * 132;
        #pragma unroll
        for (kt_index n_2 = 0; n_2 < 4; ++n_2) {
          a_slice[t6 + n_2 * 32 + kt_quotient(t_4, 8)] = a_next[n_2];
        }
      }
      {
        const kt_index t_5 = threadIdx.x;
        const kt_index t7 = kt_quotient(t_5, 128) * 132;
        #pragma unroll
        for (kt_index n_3 = 0; n_3 < 4; ++n_3) {
          b_slice[n_3 * 264 + t7 + kt_rest(t_5, 128)] = b_next[n_3];
        }
      }
      __syncthreads();
      const kt_index t8 = block_1 * 512 + step * 8;
      {
        const kt_index t_6 = threadIdx.x;
        const kt_index t9 = t8 + kt_rest(t_6, 8) + 8;
        const bool t10 = t9 < x_shape_1;
        #pragma unroll
        for (kt_index n_4 = 0; n_4 < 4; ++n_4) {
          const long long t11 = tile_row * 128 + (n_4 * 32 + kt_quotient(t_6, 8));
          a_next[n_4] = (t10 && t11 < x_shape_0 ? x[t9 + t11 * x_shape_1] : 0.0f);
        }
      }
      const kt_index t12 = block_1 * (w_shape_1 * 512) + step * (w_shape_1 * 8);
      {
        const kt_index t_7 = threadIdx.x;
        const kt_index t13 = tile_column * 128 + kt_rest(t_7, 128);
        const kt_index t14 = kt_quotient(t_7, 128) * w_shape_1;
        const bool t15 = t13 < w_shape_1;
        #pragma unroll
        for (kt_index n_5 = 0; n_5 < 4; ++n_5) {
          b_next[n_5] = (t8 + n_5 * 2 + kt_quotient(t_7, 128) + 8 < x_shape_1 && t15 ? w[t13 + (t12
                  + n_5 * (w_shape_1 * 2) + t14 + w_shape_1 * 8)] : 0.0f);
        }
      }
      {
        const kt_index t_8 = threadIdx.x;
        const kt_index t16 = kt_quotient(t_8, 16) * 8;
        const kt_index t17 = kt_rest(t_8, 16) * 4;
        #pragma unroll
        for (kt_index k = 0; k < 8; ++k) {
          const long long t18 = k * 132 + t16;
          #pragma unroll
          for (kt_index i_2 = 0; i_2 < 8; ++i_2) {
            const float t19 = a_slice[t18 + i_2];
            #pragma unroll
            for (kt_index j_2 = 0; j_2 < 8; ++j_2) {
              const long long t20 = i_2 * 8 + j_2;
              sums[t20] = fmaf(t19, b_slice[k * 132 + kt_quotient(j_2, 4) * 64 + t17 + kt_rest(j_2,
                      4)], sums[t20]);
            }
          }
        }
      }
      __syncthreads();
    }
    {
      #pragma unroll
      for (kt_index i_3 = 0; i_3 < 8; ++i_3) {
        #pragma unroll
        for (kt_index j_3 = 0; j_3 < 8; ++j_3) {
          const long long t21 = i_3 * 8 + j_3;
          totals[t21] = totals[t21] + sums[t21];
        }
      }
    }
  }
  {
    const kt_index t_10 = threadIdx.x;
    const kt_index t22 = kt_quotient(t_10, 16) * 8;
    const kt_index t23 = kt_rest(t_10, 16) * 4;
    #pragma unroll
    for (kt_index i_4 = 0; i_4 < 8; ++i_4) {
      const long long t24 = tile_row * 128 + (t22 + i_4);
      const bool t25 = t24 < x_shape_0;
      const long long t26 = t24 * w_shape_1;
      #pragma unroll
      for (kt_index j_4 = 0; j_4 < 2; ++j_4) {
        const long long t27 = tile_column * 128 + (j_4 * 64 + t23);
        const long long t28 = kt_least(w_shape_1 - t27, 4);
        const long long t29 = i_4 * 8 + j_4 * 4;
        if (t25) {
          if (t28 >= 4 && KROTON_ADDRESS(b, 0) % 16 == 0 && KROTON_ADDRESS(relu6, t27 + t26) % 16 ==
                  0) {
            float b_together[4];
            KROTON_LOAD(b_together, b, t27);
            float relu6_together[4];
            #pragma unroll
            for (kt_index next = 0; next < 4; ++next) {
              const long long t30 = t27 + next;
              relu6_together[next] = kt_max(totals[t29 + next] + b_together[next], 0.0f);
            }
            KROTON_STORE(relu6, t27 + t26, relu6_together);
          } else {
            #pragma unroll
            for (kt_index next = 0; next < 4; ++next) {
              if (next < t28) {
                const long long t31 = t27 + next;
                relu6[t31 + t26] = kt_max(totals[t29 + next] + b[t31], 0.0f);
              }
            }
          }
        }
      }
    }
  }
}
)golden");
}
