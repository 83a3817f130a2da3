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
  block<256> for b_1 in 0..(floor_div(x.shape[0]*x.shape[1] + 255, 256)) {
    thread for t in 0..min((x.shape[0]*x.shape[1]) - b_1*256, 256) {
      mul7[b_1*256 + t] = max(x[b_1*256 + t] + b[mod(b_1*256 + t, x.shape[1])], 0.0) * 2.0
    }
  }
}
== k0_add_relu_mul: floor_div(x.shape[0]*x.shape[1] + 255, 256) blocks of 256 threads

// line 1
extern "C" __global__ void __launch_bounds__(256) k0_add_relu_mul(
    KROTON_GLOBAL(const float) x,
    KROTON_GLOBAL(const float) b,
    KROTON_GLOBAL(float) mul7,
    long long x_shape_0,
    long long x_shape_1,
    long long workers,
    kroton_error* error) {
  const long long b_1 = blockIdx.x;
  if (threadIdx.x < x_shape_0 * x_shape_1 - b_1 * 256) {
    const long long t = threadIdx.x;
    const long long t1 = b_1 * 256 + t;
    mul7[t1] = kt_max(x[t1] + b[t1 % x_shape_1], 0.0f) * 2.0f;
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
    shared row: f32[100]
    var acc: f32 = -inf
    var acc_1: f32 = 0.0
    thread for j in 0..100 {
      acc max= rows[j + b*100]
    }
    thread for j_1 in 0..100 {
      let t1 = exp(rows[j_1 + b*100] - acc)
      row[j_1] = t1
      acc_1 += t1
    }
    barrier
    let t2 = 1.0 / acc_1
    thread for j_2 in 0..100 {
      mul10[j_2 + b*100] = row[j_2] * t2
    }
  }
}
== k0_max_sub_exp_sum_div_mul: n blocks of 32 threads

// line 1
extern "C" __global__ void __launch_bounds__(32) k0_max_sub_exp_sum_div_mul(
    KROTON_GLOBAL(const float) rows,
    KROTON_GLOBAL(float) mul10,
    long long n,
    long long workers,
    kroton_error* error) {
  const long long b = blockIdx.x;
  KROTON_SHARED(float, row, 100);
  float acc = (-__int_as_float(0x7f800000));
  float acc_1 = 0.0f;
  float acc_own = (-__int_as_float(0x7f800000));
  #pragma unroll
  for (long long j = threadIdx.x; j < 100; j += 32) {
    acc_own = kt_max(acc_own, rows[j + b * 100]);
  }
  acc = kt_max(acc, kt_combine<KtMax>(acc_own));
  float acc_own_1 = (-0.0f);
  #pragma unroll
  for (long long j_1 = threadIdx.x; j_1 < 100; j_1 += 32) {
    const float t1 = rows[j_1 + b * 100] - acc;
    const float t2 = 89.0f < t1 ? 89.0f : t1;
    const float t3 = t2 < (-105.0f) ? (-105.0f) : t2;
    const float t4 = fmaf(t3, 0.7213475f, 12583039.0f);
    const float t5 = t4 - 12583039.0f;
    const float t6 = fmaf(t5, (-2.8572135e-06f), fmaf(t5, (-1.3862915f), t3));
    const float t7 = __int_as_float(kt_shl(__float_as_int(t4), 23));
    const float t8 = fmaf(fmaf(fmaf(fmaf(fmaf(fmaf(fmaf(0.000196116f, t6, 0.001410447f), t6,
            0.0083361035f), t6, 0.04166127f), t6, 0.16666614f), t6, 0.50000036f), t6, 1.0f), t6 *
            t7, t7) * t7;
    row[j_1] = t8;
    acc_own_1 = acc_own_1 + t8;
  }
  acc_1 = acc_1 + kt_combine<KtAdd>(acc_own_1);
  __syncthreads();
  const float t9 = 1.0f / acc_1;
  #pragma unroll
  for (long long j_2 = threadIdx.x; j_2 < 100; j_2 += 32) {
    mul10[j_2 + b * 100] = row[j_2] * t9;
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
program golden  arena 0 bytes
# line 1
kernel k0_dot_add_relu(in x: f32[x.shape[0]*x.shape[1]], in w: f32[x.shape[1]*w.shape[1]], in b:
        f32[w.shape[1]], out relu6: f32[x.shape[0]*w.shape[1]]) work
        (2*x.shape[0]*x.shape[1]*w.shape[1] + 3*x.shape[0]*w.shape[1]) {
  block<256> for block in 0..(floor_div(x.shape[0] + 63, 64)*floor_div(w.shape[1] + 63, 64)) {
    shared a_slice: f32[1088]
    shared b_slice: f32[1088]
    registers sums: f32[16]
    registers totals: f32[16]
    thread for t in 0..256 {
      unroll for i in 0..4 {
        unroll for j in 0..4 {
          totals[i*4 + j] = 0.0
        }
      }
    }
    for block_1 in 0..(floor_div(x.shape[1] + 511, 512)) {
      thread for t_1 in 0..256 {
        unroll for i_1 in 0..4 {
          unroll for j_1 in 0..4 {
            sums[i_1*4 + j_1] = 0.0
          }
        }
      }
      for step in 0..min((floor_div(x.shape[1] + 15, 16)) - block_1*32, 32) {
        let t1 = block_1*512 + step*16
        thread for t_2 in 0..1024 {
          let t2 = t1 + mod(t_2, 16)
          let t3 = floor_div(block, floor_div(w.shape[1] + 63, 64))*64 + floor_div(t_2, 16) <
                  x.shape[0]
          let t4 = mod(t_2, 16)*68 + floor_div(t_2, 16)
          let t5 = t2 + floor_div(block, floor_div(w.shape[1] + 63, 64))*(64*x.shape[1]) +
                  floor_div(t_2, 16)*x.shape[1]
          if t2 < x.shape[1] {
            if t3 {
              a_slice[t4] = x[t5]
            } else {
              a_slice[t4] = 0.0
            }
          } else {
            a_slice[t4] = 0.0
          }
        }
        thread for t_3 in 0..1024 {
          let t6 = mod(block, floor_div(w.shape[1] + 63, 64))*64 + mod(t_3, 64)
          let t7 = t6 < w.shape[1]
          let t8 = floor_div(t_3, 64)*68 + mod(t_3, 64)
          let t9 = t6 + block_1*(512*w.shape[1]) + step*(16*w.shape[1]) + floor_div(t_3,
                  64)*w.shape[1]
          if t1 + floor_div(t_3, 64) < x.shape[1] {
            if t7 {
              b_slice[t8] = w[t9]
            } else {
              b_slice[t8] = 0.0
            }
          } else {
            b_slice[t8] = 0.0
          }
        }
        barrier
        thread for t_4 in 0..256 {
          unroll for k in 0..16 {
            let t10 = k*68 + floor_div(t_4, 16)*4
            let t11 = k*68 + mod(t_4, 16)*4
            unroll for i_2 in 0..4 {
              let t12 = a_slice[t10 + i_2]
              unroll for j_2 in 0..4 {
                sums[i_2*4 + j_2] = fma(t12, b_slice[t11 + j_2], sums[i_2*4 + j_2])
              }
            }
          }
        }
        barrier
      }
      thread for t_5 in 0..256 {
        unroll for i_3 in 0..4 {
          unroll for j_3 in 0..4 {
            totals[i_3*4 + j_3] = totals[i_3*4 + j_3] + sums[i_3*4 + j_3]
          }
        }
      }
    }
    thread for t_6 in 0..256 {
      let t13 = floor_div(block, floor_div(w.shape[1] + 63, 64))*64 + floor_div(t_6, 16)*4
      let t14 = mod(block, floor_div(w.shape[1] + 63, 64))*64 + mod(t_6, 16)*4
      unroll for i_4 in 0..4 {
        let t15 = t13 + i_4 < x.shape[0]
        unroll for j_4 in 0..4 {
          let t16 = t14 + j_4
          let t17 = t16 < w.shape[1]
          let t18 = t16 + floor_div(block, floor_div(w.shape[1] + 63, 64))*(64*w.shape[1]) +
                  floor_div(t_6, 16)*(4*w.shape[1]) + i_4*w.shape[1]
          if t15 {
            if t17 {
              relu6[t18] = max(totals[i_4*4 + j_4] + b[t16], 0.0)
            }
          }
        }
      }
    }
  }
}
== k0_dot_add_relu: floor_div(x.shape[0] + 63, 64)*floor_div(w.shape[1] + 63, 64) blocks of 256
        threads

// line 1
extern "C" __global__ void __launch_bounds__(256) k0_dot_add_relu(
    KROTON_GLOBAL(const float) x,
    KROTON_GLOBAL(const float) w,
    KROTON_GLOBAL(const float) b,
    KROTON_GLOBAL(float) relu6,
    long long x_shape_0,
    long long x_shape_1,
    long long w_shape_1,
    long long workers,
    kroton_error* error) {
  const long long block = blockIdx.x;
  KROTON_SHARED(float, a_slice, 1088);
  KROTON_SHARED(float, b_slice, 1088);
  float sums[16];
  float totals[16];
  {
    #pragma unroll
    for (long long i = 0; i < 4; ++i) {
      #pragma unroll
      for (long long j = 0; j < 4; ++j) {
        totals[i * 4 + j] = 0.0f;
      }
    }
  }
  const long long t1 = block / (kt_floor_div(w_shape_1 + 63LL, 64LL)) * 64;
  const long long t2 = block / (kt_floor_div(w_shape_1 + 63LL, 64LL)) * (x_shape_1 * 64LL);
  const long long t3 = block % (kt_floor_div(w_shape_1 + 63LL, 64LL)) * 64;
  for (long long block_1 = 0; block_1 < kt_floor_div(x_shape_1 + 511LL, 512LL); ++block_1) {
    {
      #pragma unroll
      for (long long i_1 = 0; i_1 < 4; ++i_1) {
        #pragma unroll
        for (long long j_1 = 0; j_1 < 4; ++j_1) {
          sums[i_1 * 4 + j_1] = 0.0f;
        }
      }
    }
    for (long long step = 0; step < kt_min(kt_floor_div(x_shape_1 + 15LL, 16LL) - block_1 * 32,
            32LL); ++step) {
      const long long t4 = block_1 * 512 + step * 16;
      #pragma unroll
      for (long long t_2 = threadIdx.x; t_2 < 1024; t_2 += 256) {
        const long long t5 = t4 + t_2 % 16;
        const bool t6 = t1 + t_2 / 16 < x_shape_0;
        const long long t7 = t_2 % 16 * 68 + t_2 / 16;
        const long long t8 = t5 + t2 + t_2 / 16 * x_shape_1;
        if (t5 < x_shape_1) {
          if (t6) {
            a_slice[t7] = x[t8];
          } else {
            a_slice[t7] = 0.0f;
          }
        } else {
          a_slice[t7] = 0.0f;
        }
      }
      #pragma unroll
      for (long long t_3 = threadIdx.x; t_3 < 1024; t_3 += 256) {
        const long long t9 = t3 + t_3 % 64;
        const bool t10 = t9 < w_shape_1;
        const long long t11 = t_3 / 64 * 68 + t_3 % 64;
        const long long t12 = t9 + block_1 * (w_shape_1 * 512LL) + step * (w_shape_1 * 16LL) + t_3 /
                64 * w_shape_1;
        if (t4 + t_3 / 64 < x_shape_1) {
          if (t10) {
            b_slice[t11] = w[t12];
          } else {
            b_slice[t11] = 0.0f;
          }
        } else {
          b_slice[t11] = 0.0f;
        }
      }
      __syncthreads();
      {
        const long long t_4 = threadIdx.x;
        const long long t13 = t_4 / 16 * 4;
        const long long t14 = t_4 % 16 * 4;
        #pragma unroll
        for (long long k = 0; k < 16; ++k) {
          const long long t15 = k * 68 + t13;
          const long long t16 = k * 68 + t14;
          #pragma unroll
          for (long long i_2 = 0; i_2 < 4; ++i_2) {
            const float t17 = a_slice[t15 + i_2];
            #pragma unroll
            for (long long j_2 = 0; j_2 < 4; ++j_2) {
              const long long t18 = i_2 * 4 + j_2;
              sums[t18] = fmaf(t17, b_slice[t16 + j_2], sums[t18]);
            }
          }
        }
      }
      __syncthreads();
    }
    {
      #pragma unroll
      for (long long i_3 = 0; i_3 < 4; ++i_3) {
        #pragma unroll
        for (long long j_3 = 0; j_3 < 4; ++j_3) {
          const long long t19 = i_3 * 4 + j_3;
          totals[t19] = totals[t19] + sums[t19];
        }
      }
    }
  }
  const long long t20 = block / (kt_floor_div(w_shape_1 + 63LL, 64LL)) * (w_shape_1 * 64LL);
  {
    const long long t_6 = threadIdx.x;
    const long long t21 = t1 + t_6 / 16 * 4;
    const long long t22 = t3 + t_6 % 16 * 4;
    const long long t23 = t_6 / 16 * (w_shape_1 * 4LL);
    #pragma unroll
    for (long long i_4 = 0; i_4 < 4; ++i_4) {
      const bool t24 = t21 + i_4 < x_shape_0;
      #pragma unroll
      for (long long j_4 = 0; j_4 < 4; ++j_4) {
        const long long t25 = t22 + j_4;
        const bool t26 = t25 < w_shape_1;
        const long long t27 = t25 + t20 + t23 + i_4 * w_shape_1;
        const long long t28 = i_4 * 4 + j_4;
        if (t24) {
          if (t26) {
            relu6[t27] = kt_max(totals[t28] + b[t25], 0.0f);
          }
        }
      }
    }
  }
}
)golden");
}
