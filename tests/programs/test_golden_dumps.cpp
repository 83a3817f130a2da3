// Golden dumps of functions on their way: graph after the passes, fusion, loop IR for vectors
// of 64 bytes. `bash tests/run --update-golden` rewrites them.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "compiler/fusion/fusion.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "tests/tools/golden.h"

using namespace kroton;  // NOLINT: tests

namespace {

using Updates = std::vector<std::pair<Shared, Tensor>>;

std::string dump(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
                 const Updates& updates = {}) {
  Graph graph(inputs, outputs, updates);
  run_passes(graph);
  return "== graph\n" + to_string(graph) + "== fusion\n" + fuse(graph).to_string(graph) +
         "== loop\n" + to_string(lower(graph, "golden", x86_machine(64)));
}

}  // namespace

TEST_CASE("golden: a training step of the logistic regression") {
  const Tensor x = matrix("x");
  const Tensor y = vector("y");
  const Shared w = shared(Array::zeros({2, 1}), "w");
  const Shared b = shared(Array::zeros({1}), "b");
  const Tensor p = 1 / (1 + exp(-dot(x, w) - b));
  const Tensor q = p(all, 0);
  const Tensor xent = -y * log(q) - (1 - y) * log(1 - q);
  const Tensor loss = mean(xent) + 0.01 * sum(square(w));
  const auto [gw, gb] = grad(loss, w, b);
  const Updates updates = {{w, w - 0.1 * gw}, {b, b - 0.1 * gb}};
  check_golden("logistic regression", dump({x, y}, {loss}, updates), R"golden(
== graph
inputs: %0 x, %1 y
%2 = shared() {name=b dims=(1,)} : f32 (1,)  [line 4]
%3 = reshape(%2) : f32 ()  [line 6]
%4 = broadcast(%3) {dims=(x.shape[0],)} : f32 (x.shape[0],)  [line 6]
%0 = input() {name=x dims=(x.shape[0], 2)} : f32 (x.shape[0], 2)  [line 1]
%5 = shared() {name=w dims=(2, 1)} : f32 (2, 1)  [line 3]
%6 = reshape(%5) {dims=(2,)} : f32 (2,)  [line 5]
%7 = broadcast(%6) {axes=[1] dims=(x.shape[0], 2)} : f32 (x.shape[0], 2)  [line 5]
%8 = mul(%0, %7) : f32 (x.shape[0], 2)  [line 5]
%9 = sum(%8) {axes=[1]} : f32 (x.shape[0],)  [line 5]
%10 = add(%4, %9) : f32 (x.shape[0],)  [line 5]
%11 = neg(%10) : f32 (x.shape[0],)  [line 7]
%12 = softplus(%11) : f32 (x.shape[0],)  [line 7]
%1 = input() {name=y dims=(x.shape[0],)} : f32 (x.shape[0],)  [line 2]
%13 = mul(%12, %1) : f32 (x.shape[0],)  [line 7]
%14 = softplus(%10) : f32 (x.shape[0],)  [line 7]
%15 = literal(1) : f32 ()  [line 5]
%16 = broadcast(%15) {dims=(x.shape[0],)} : f32 (x.shape[0],)  [line 7]
%17 = sub(%16, %1) : f32 (x.shape[0],)  [line 7]
%18 = mul(%14, %17) : f32 (x.shape[0],)  [line 7]
%19 = add(%13, %18) : f32 (x.shape[0],)  [line 7]
%20 = sum(%19) {axes=[0]} : f32 ()  [line 8]
%21 = size() {dims=(x.shape[0],)} : f32 ()  [line 8]
%22 = div(%20, %21) : f32 ()  [line 8]
%23 = literal(0.01) : f32 ()  [line 8]
%24 = mul(%6, %6) : f32 (2,)  [line 8]
%25 = sum(%24) {axes=[0]} : f32 ()  [line 8]
%26 = mul(%23, %25) : f32 ()  [line 8]
%27 = add(%22, %26) : f32 ()  [line 8]
%28 = literal(0.1) : f32 ()  [line 10]
%29 = broadcast(%28) {dims=(2, 1)} : f32 (2, 1)  [line 10]
%30 = broadcast(%23) {dims=(2,)} : f32 (2,)  [line 8]
%31 = mul(%30, %6) : f32 (2,)  [line 8]
%32 = add(%31, %31) : f32 (2,)  [line 8]
%33 = reshape(%32) {dims=(2, 1)} : f32 (2, 1)  [line 8]
%34 = transpose(%0) {axes=[1, 0]} : f32 (2, x.shape[0])  [line 5]
%35 = div(%15, %21) : f32 ()  [line 8]
%36 = neg(%35) : f32 ()  [line 7]
%37 = broadcast(%36) {dims=(x.shape[0],)} : f32 (x.shape[0],)  [line 7]
%38 = mul(%37, %1) : f32 (x.shape[0],)  [line 7]
%39 = sigmoid(%11) : f32 (x.shape[0],)  [line 7]
%40 = mul(%38, %39) : f32 (x.shape[0],)  [line 7]
%41 = mul(%37, %17) : f32 (x.shape[0],)  [line 7]
%42 = sigmoid(%10) : f32 (x.shape[0],)  [line 7]
%43 = mul(%41, %42) : f32 (x.shape[0],)  [line 7]
%44 = sub(%40, %43) : f32 (x.shape[0],)  [line 7]
%45 = broadcast(%44) {axes=[1] dims=(2, x.shape[0])} : f32 (2, x.shape[0])  [line 5]
%46 = mul(%34, %45) : f32 (2, x.shape[0])  [line 5]
%47 = sum(%46) {axes=[1]} : f32 (2,)  [line 5]
%48 = reshape(%47) {dims=(2, 1)} : f32 (2, 1)  [line 5]
%49 = add(%33, %48) : f32 (2, 1)  [line 5]
%50 = mul(%29, %49) : f32 (2, 1)  [line 10]
%51 = sub(%5, %50) : f32 (2, 1)  [line 10]
%52 = broadcast(%28) {dims=(1,)} : f32 (1,)  [line 10]
%53 = sum(%44) {axes=[0]} : f32 ()  [line 6]
%54 = reshape(%53) {dims=(1,)} : f32 (1,)  [line 6]
%55 = mul(%52, %54) : f32 (1,)  [line 10]
%56 = sub(%2, %55) : f32 (1,)  [line 10]
outputs: %27
update: w <- %51
update: b <- %56
== fusion
cluster 0 loops over (x.shape[0], 2) reducing 1: %3=reshape %4=broadcast %6=reshape %7=broadcast
        %8=mul %9=sum* %10=add %11=neg %16=broadcast %17=sub %21=size %35=div %36=neg %37=broadcast
        %38=mul %39=sigmoid %40=mul %41=mul %42=sigmoid %43=mul %44=sub*
cluster 1 loops over (x.shape[0],) reducing 0: %3=reshape %4=broadcast %10=add %11=neg %12=softplus
        %13=mul %14=softplus %16=broadcast %17=sub %18=mul %19=add %20=sum*
cluster 2 loops over (2,) reducing 0: %6=reshape %21=size %22=div %24=mul %25=sum %26=mul %27=add*
cluster 3 loops over (2, x.shape[0]) reducing 1: %34=transpose %45=broadcast %46=mul %47=sum*
cluster 4 loops over (2, 1): %6=reshape %29=broadcast %30=broadcast %31=mul %32=add %33=reshape
        %48=reshape %49=add %50=mul %51=sub*
cluster 5 loops over (x.shape[0],) reducing 0: %53=sum*
cluster 6 loops over (1,): %52=broadcast %54=reshape %55=mul %56=sub*
== loop
program golden  arena 128*floor_div(x.shape[0] + 15, 16) + 64*floor_div(x.shape[0] + 131071, 131072)
        + 64 bytes
  buffer 5 at 0
  buffer 6 at 64*floor_div(x.shape[0] + 15, 16)
  buffer 7 at 128*floor_div(x.shape[0] + 15, 16)
  buffer 8 at 128*floor_div(x.shape[0] + 15, 16) + 64*floor_div(x.shape[0] + 131071, 131072)
  buffer 9 at 128*floor_div(x.shape[0] + 15, 16) + 64*floor_div(x.shape[0] + 131071, 131072)
  buffer 11 at 128*floor_div(x.shape[0] + 15, 16)
  buffer 12 at 128*floor_div(x.shape[0] + 15, 16) + 64*floor_div(x.shape[0] + 131071, 131072)
# line 5 line 6 line 7 line 8
kernel k0_mul_sum_add_neg_sub_size_div_neg_mul_sigmoid(in x: f32[2*x.shape[0]], in y:
        f32[x.shape[0]], in b: f32[1], in w: f32[2], out sum9: f32[x.shape[0]], out sub44:
        f32[x.shape[0]]) work (42*x.shape[0] + 6) {
  let t1 = f32(x.shape[0])
  parallel for chunk in 0..(floor_div(x.shape[0] + 255, 256)) {
    once let t2 = -(1.0 / t1)
    once let t3 = b[0]
    vector<16> for i in 0..min(x.shape[0] - chunk*256, 256) {
      var acc: f32 = 0.0
      let t4 = (chunk*256 + i)*2
      for r in 0..2 {
        acc += x[r + t4] * w[r]
      }
      sum9[chunk*256 + i] = acc
      let t5 = y[chunk*256 + i]
      let t6 = t3 + acc
      sub44[chunk*256 + i] = t2 * t5 * sigmoid(-t6) - t2 * (1.0 - t5) * sigmoid(t6)
    }
  }
}
# line 5 line 6 line 7 line 8
kernel k1_add_neg_softplus_mul_softplus_sub_mul_add(in y: f32[x.shape[0]], in b: f32[1], in sum9:
        f32[x.shape[0]], out partial: f32[floor_div(x.shape[0] + 8191, 8192)]) work (60*x.shape[0])
        {
  parallel for run in 0..(floor_div(x.shape[0] + 8191, 8192)) {
    once let t1 = b[0]
    var acc: f32 = 0.0
    vector<16 x2> for row in 0..min(x.shape[0] - run*8192, 8192) {
      let t2 = t1 + sum9[run*8192 + row]
      let t3 = y[run*8192 + row]
      acc += softplus(-t2) * t3 + softplus(t2) * (1.0 - t3)
    }
    partial[run] = acc
  }
}
# line 5 line 6 line 7 line 8
kernel k2_add_neg_softplus_mul_softplus_sub_mul_add(in partial: f32[floor_div(x.shape[0] + 8191,
        8192)], out sum20: f32[1]) work (floor_div(x.shape[0] + 8191, 8192)) {
  var acc: f32 = 0.0
  vector<16 x4> for run in 0..(floor_div(x.shape[0] + 8191, 8192)) {
    acc += partial[run]
  }
  sum20[0] = acc
}
# line 5 line 8
kernel k3_size_div_mul_sum_mul_add(in w: f32[2], in sum20: f32[1], out add27: f32[1]) work 13 {
  var acc: f32 = 0.0
  for r in 0..2 {
    let t1 = w[r]
    acc += t1 * t1
  }
  add27[0] = sum20[0] / f32(x.shape[0]) + 0.01 * acc
}
# line 5
kernel k4_mul_sum(in x: f32[2*x.shape[0]], in sub44: f32[x.shape[0]], out sum47: f32[2]) work
        (6*x.shape[0]) {
  parallel for i in 0..2 {
    var acc: f32 = 0.0
    vector<16 x4> for j in 0..x.shape[0] {
      acc += x[i + j*2] * sub44[j]
    }
    sum47[i] = acc
  }
}
# line 5 line 8 line 10
kernel k5_mul_add_add_mul_sub(in sum47: f32[2], out w: f32[2]) work 12 {
  for i in 0..2 {
    let t1 = w[i]
    let t2 = 0.01 * t1
    w[i] = t1 - 0.1 * (t2 + t2 + sum47[i])
  }
}
# line 6
kernel k6_sum(in sub44: f32[x.shape[0]], out partial: f32[floor_div(x.shape[0] + 8191, 8192)]) work
        (2*x.shape[0]) {
  parallel for run in 0..(floor_div(x.shape[0] + 8191, 8192)) {
    var acc: f32 = 0.0
    vector<16 x4> for row in 0..min(x.shape[0] - run*8192, 8192) {
      acc += sub44[run*8192 + row]
    }
    partial[run] = acc
  }
}
# line 6
kernel k7_sum(in partial: f32[floor_div(x.shape[0] + 8191, 8192)], out sum53: f32[1]) work
        (floor_div(x.shape[0] + 8191, 8192)) {
  var acc: f32 = 0.0
  vector<16 x4> for run in 0..(floor_div(x.shape[0] + 8191, 8192)) {
    acc += partial[run]
  }
  sum53[0] = acc
}
# line 6 line 10
kernel k8_mul_sub(in sum53: f32[1], out b: f32[1]) work 3 {
  b[0] = b[0] - 0.1 * sum53[0]
}
)golden");
}

TEST_CASE("golden: a dense layer with bias and relu") {
  const Tensor x = matrix("x");
  const Shared w = shared(Array::zeros({784, 512}), "w");
  const Shared b = shared(Array::zeros({512}), "b");
  check_golden("dense layer", dump({x}, {relu(dot(x, w) + b)}), R"golden(
== graph
inputs: %0 x
%0 = input() {name=x dims=(x.shape[0], 784)} : f32 (x.shape[0], 784)  [line 1]
%1 = shared() {name=w dims=(784, 512)} : f32 (784, 512)  [line 2]
%2 = dot(%0, %1) {integers=[0, 0]} : f32 (x.shape[0], 512)  [line 4]
%3 = shared() {name=b dims=(512,)} : f32 (512,)  [line 3]
%4 = broadcast(%3) {axes=[1] dims=(x.shape[0], 512)} : f32 (x.shape[0], 512)  [line 4]
%5 = add(%2, %4) : f32 (x.shape[0], 512)  [line 4]
%6 = relu(%5) : f32 (x.shape[0], 512)  [line 4]
outputs: %6
== fusion
cluster 0 contraction over (x.shape[0], 512): %2=dot %4=broadcast %5=add %6=relu*
== loop
program golden  arena 200704*workers bytes
# line 4
kernel k0_dot_add_relu(in x: f32[784*x.shape[0]], in w: f32[401408], in b: f32[512], out relu6:
        f32[512*x.shape[0]], worker panel: f32[50176]) work (804352*x.shape[0]) {
  let t1 = 14 <= x.shape[0]
  let t2 = floor_div(x.shape[0] - floor_div(x.shape[0], 6)*6 + 1, 2)
  parallel for task in 0..8 {
    if t1 {
      for k in 0..784 {
        vector<16 unrolled 64> for j in 0..64 {
          panel[k*64 + j] = w[task*64 + j + k*512]
        }
      }
      for tile in 0..floor_div(x.shape[0], 6) {
        registers tile_1: f32[384]
        unroll for i in 0..6 {
          vector<16 unrolled 64> for j_1 in 0..64 {
            tile_1[i*64 + j_1] = 0.0
          }
        }
        for k_1 in 0..784 {
          unroll for i_1 in 0..6 {
            let t3 = x[k_1 + (tile*6 + i_1)*784]
            vector<16 unrolled 64> for j_2 in 0..64 {
              tile_1[i_1*64 + j_2] = fma(t3, panel[k_1*64 + j_2], tile_1[i_1*64 + j_2])
            }
          }
        }
        unroll for i_2 in 0..6 {
          let t4 = (tile*6 + i_2)*512
          vector<16 unrolled 64> for j_3 in 0..64 {
            relu6[task*64 + j_3 + t4] = max(tile_1[i_2*64 + j_3] + b[task*64 + j_3], 0.0)
          }
        }
      }
      for tile_2 in 0..t2 {
        registers tile_3: f32[128]
        unroll for i_3 in 0..2 {
          vector<16 unrolled 64> for j_4 in 0..64 {
            tile_3[i_3*64 + j_4] = 0.0
          }
        }
        let t5 = floor_div(x.shape[0], 6)*6 + tile_2*2
        for k_2 in 0..784 {
          unroll for i_4 in 0..2 {
            let t6 = x[k_2 + min(t5 + i_4, x.shape[0] - 1)*784]
            vector<16 unrolled 64> for j_5 in 0..64 {
              tile_3[i_4*64 + j_5] = fma(t6, panel[k_2*64 + j_5], tile_3[i_4*64 + j_5])
            }
          }
        }
        unroll for i_5 in 0..2 {
          let t7 = t5 + i_5
          let t8 = t7*512
          if t7 <= (x.shape[0] - 1) {
            vector<16 unrolled 64> for j_6 in 0..64 {
              relu6[task*64 + j_6 + t8] = max(tile_3[i_5*64 + j_6] + b[task*64 + j_6], 0.0)
            }
          }
        }
      }
    } else {
      for tile_4 in 0..floor_div(x.shape[0], 6) {
        registers tile_5: f32[384]
        unroll for i_6 in 0..6 {
          vector<16 unrolled 64> for j_7 in 0..64 {
            tile_5[i_6*64 + j_7] = 0.0
          }
        }
        for k_3 in 0..784 {
          unroll for i_7 in 0..6 {
            let t9 = x[k_3 + (tile_4*6 + i_7)*784]
            vector<16 unrolled 64> for j_8 in 0..64 {
              tile_5[i_7*64 + j_8] = fma(t9, w[task*64 + j_8 + k_3*512], tile_5[i_7*64 + j_8])
            }
          }
        }
        unroll for i_8 in 0..6 {
          let t10 = (tile_4*6 + i_8)*512
          vector<16 unrolled 64> for j_9 in 0..64 {
            relu6[task*64 + j_9 + t10] = max(tile_5[i_8*64 + j_9] + b[task*64 + j_9], 0.0)
          }
        }
      }
      for tile_6 in 0..t2 {
        registers tile_7: f32[128]
        unroll for i_9 in 0..2 {
          vector<16 unrolled 64> for j_10 in 0..64 {
            tile_7[i_9*64 + j_10] = 0.0
          }
        }
        let t11 = floor_div(x.shape[0], 6)*6 + tile_6*2
        for k_4 in 0..784 {
          unroll for i_10 in 0..2 {
            let t12 = x[k_4 + min(t11 + i_10, x.shape[0] - 1)*784]
            vector<16 unrolled 64> for j_11 in 0..64 {
              tile_7[i_10*64 + j_11] = fma(t12, w[task*64 + j_11 + k_4*512], tile_7[i_10*64 + j_11])
            }
          }
        }
        unroll for i_11 in 0..2 {
          let t13 = t11 + i_11
          let t14 = t13*512
          if t13 <= (x.shape[0] - 1) {
            vector<16 unrolled 64> for j_12 in 0..64 {
              relu6[task*64 + j_12 + t14] = max(tile_7[i_11*64 + j_12] + b[task*64 + j_12], 0.0)
            }
          }
        }
      }
    }
  }
}
)golden");
}

TEST_CASE("golden: softmax of rows") {
  const Tensor x = matrix("x");
  check_golden("softmax of rows", dump({x}, {softmax(x)}), R"golden(
== graph
inputs: %0 x
%0 = input() {name=x dims=(x.shape[0], x.shape[1])} : f32 (x.shape[0], x.shape[1])  [line 1]
%1 = max(%0) {axes=[1]} : f32 (x.shape[0],)  [line 2]
%2 = broadcast(%1) {axes=[0] dims=(x.shape[0], x.shape[1])} : f32 (x.shape[0], x.shape[1])  [line 2]
%3 = sub(%0, %2) : f32 (x.shape[0], x.shape[1])  [line 2]
%4 = exp(%3) : f32 (x.shape[0], x.shape[1])  [line 2]
%5 = literal(1) : f32 ()  [line 2]
%6 = broadcast(%5) {dims=(x.shape[0],)} : f32 (x.shape[0],)  [line 2]
%7 = sum(%4) {axes=[1]} : f32 (x.shape[0],)  [line 2]
%8 = div(%6, %7) : f32 (x.shape[0],)  [line 2]
%9 = broadcast(%8) {axes=[0] dims=(x.shape[0], x.shape[1])} : f32 (x.shape[0], x.shape[1])  [line 2]
%10 = mul(%4, %9) : f32 (x.shape[0], x.shape[1])  [line 2]
outputs: %10
== fusion
cluster 0 loops over (x.shape[0], x.shape[1]) reducing 1: %1=max %2=broadcast %3=sub %4=exp
        %6=broadcast %7=sum %8=div %9=broadcast %10=mul*
== loop
program golden  arena 0 bytes
# line 2
kernel k0_max_sub_exp_sum_div_mul(in x: f32[x.shape[0]*x.shape[1]], out mul10:
        f32[x.shape[0]*x.shape[1]]) work (17*x.shape[0]*x.shape[1] + 4*x.shape[0]) {
  parallel for i_block in 0..(floor_div(x.shape[0]*min(max(0, -x.shape[1] + 17), 1) + 255, 256)) {
    let t1 = min((x.shape[0]*min(max(0, -x.shape[1] + 17), 1)) - i_block*256, 256)
    let t2 = floor_div(t1, 4)
    for i_group in 0..t2 {
      registers accs: f32[4]
      registers accs_1: f32[4]
      vector<4 unrolled 4> for i in 0..4 {
        accs[i] = -inf
        accs_1[i] = 0.0
      }
      var acc: f32 = accs[0]
      var acc_1: f32 = accs[1]
      var acc_2: f32 = accs[2]
      var acc_3: f32 = accs[3]
      let t3 = i_block*256 + i_group*4
      let t4 = t3*x.shape[1]
      let t5 = (t3 + 1)*x.shape[1]
      let t6 = (t3 + 2)*x.shape[1]
      let t7 = (t3 + 3)*x.shape[1]
      vector<16 unrolled 16> for j in 0..(min(x.shape[1], 16)) {
        acc max= x[j + t4]
        acc_1 max= x[j + t5]
        acc_2 max= x[j + t6]
        acc_3 max= x[j + t7]
      }
      accs[0] = acc
      accs[1] = acc_1
      accs[2] = acc_2
      accs[3] = acc_3
      var acc_4: f32 = accs_1[0]
      var acc_5: f32 = accs_1[1]
      var acc_6: f32 = accs_1[2]
      var acc_7: f32 = accs_1[3]
      vector<16 unrolled 16> for j in 0..(min(x.shape[1], 16)) {
        once let t8 = accs[0]
        once let t9 = accs[1]
        once let t10 = accs[2]
        once let t11 = accs[3]
        let t12 = j + t4
        let t13 = exp(x[t12] - t8)
        mul10[t12] = t13
        let t14 = j + t5
        let t15 = exp(x[t14] - t9)
        mul10[t14] = t15
        let t16 = j + t6
        let t17 = exp(x[t16] - t10)
        mul10[t16] = t17
        let t18 = j + t7
        let t19 = exp(x[t18] - t11)
        mul10[t18] = t19
        acc_4 += t13
        acc_5 += t15
        acc_6 += t17
        acc_7 += t19
      }
      accs_1[0] = acc_4
      accs_1[1] = acc_5
      accs_1[2] = acc_6
      accs_1[3] = acc_7
      vector<16 unrolled 16> for j in 0..(min(x.shape[1], 16)) {
        once let t20 = 1.0 / accs_1[0]
        once let t21 = 1.0 / accs_1[1]
        once let t22 = 1.0 / accs_1[2]
        once let t23 = 1.0 / accs_1[3]
        let t24 = j + t4
        mul10[t24] = mul10[t24] * t20
        let t25 = j + t5
        mul10[t25] = mul10[t25] * t21
        let t26 = j + t6
        mul10[t26] = mul10[t26] * t22
        let t27 = j + t7
        mul10[t27] = mul10[t27] * t23
      }
    }
    stack accs_2: f32[4]
    stack accs_3: f32[4]
    let t28 = t2*4
    let t29 = t1 - t28
    vector<4 unrolled 4> for i_1 in 0..t29 {
      accs_2[i_1] = -inf
      accs_3[i_1] = 0.0
    }
    let t30 = i_block*256 + t28
    for i_2 in 0..t29 {
      var acc_8: f32 = accs_2[i_2]
      let t31 = (t30 + i_2)*x.shape[1]
      vector<16 unrolled 16> for j in 0..(min(x.shape[1], 16)) {
        acc_8 max= x[j + t31]
      }
      accs_2[i_2] = acc_8
    }
    for i_3 in 0..t29 {
      var acc_9: f32 = accs_3[i_3]
      let t32 = (t30 + i_3)*x.shape[1]
      vector<16 unrolled 16> for j in 0..(min(x.shape[1], 16)) {
        once let t33 = accs_2[i_3]
        let t34 = j + t32
        let t35 = exp(x[t34] - t33)
        mul10[t34] = t35
        acc_9 += t35
      }
      accs_3[i_3] = acc_9
    }
    for i_4 in 0..t29 {
      let t36 = (t30 + i_4)*x.shape[1]
      vector<16 unrolled 16> for j in 0..(min(x.shape[1], 16)) {
        once let t37 = 1.0 / accs_3[i_4]
        let t38 = j + t36
        mul10[t38] = mul10[t38] * t37
      }
    }
  }
}
# line 2
kernel k1_max_sub_exp_sum_div_mul(in x: f32[x.shape[0]*x.shape[1]], out mul10:
        f32[x.shape[0]*x.shape[1]]) work (17*x.shape[0]*x.shape[1] + 4*x.shape[0]) {
  parallel for i in 0..(-x.shape[0]*min(max(0, -x.shape[1] + 17), 1) + x.shape[0]) {
    var acc: f32 = -inf
    var acc_1: f32 = 0.0
    vector<16 x4> for j in 0..x.shape[1] {
      acc max= x[j + i*x.shape[1]]
    }
    vector<16 x2> for j in 0..x.shape[1] {
      let t1 = exp(x[j + i*x.shape[1]] - acc)
      mul10[j + i*x.shape[1]] = t1
      acc_1 += t1
    }
    vector<16 x2> for j in 0..x.shape[1] {
      once let t2 = 1.0 / acc_1
      mul10[j + i*x.shape[1]] = mul10[j + i*x.shape[1]] * t2
    }
  }
}
)golden");
}

TEST_CASE("golden: ifelse with a gradient and an update") {
  const Tensor c = scalar("c", boolean);
  const Tensor x = tensor("x", {17});
  const Tensor ids = tensor("ids", {3}, i64);
  const Shared w = shared(Array::zeros({17}), "w");
  const Tensor loss = ifelse(c, sum(take(tanh(x * w), ids)), sum(w * w));
  const Updates updates = {{w, ifelse(c, w - 0.1 * grad(loss, w), w)}};
  check_golden("ifelse", dump({c, x, ids}, {loss}, updates), R"golden(
== graph
inputs: %0 c, %1 x, %2 ids
%0 = input() {name=c dtype=boolean} : boolean ()  [line 1]
%1 = input() {name=x dims=(17,)} : f32 (17,)  [line 2]
%3 = shared() {name=w dims=(17,)} : f32 (17,)  [line 4]
%4 = mul(%1, %3) : f32 (17,)  [line 5]
%5 = tanh(%4) : f32 (17,)  [line 5]
%2 = input() {name=ids dims=(3,) dtype=i64} : i64 (3,)  [line 3]
%6 = take(%5, %2) {axes=[0]} : f32 (3,)  [line 5]
%7 = sum(%6) {axes=[0]} : f32 ()  [line 5]
%8 = mul(%3, %3) : f32 (17,)  [line 5]
%9 = sum(%8) {axes=[0]} : f32 ()  [line 5]
%10 = ifelse(%0, %7, %9) : f32 ()  [line 5]
%11 = literal(0.1) : f32 ()  [line 6]
%12 = broadcast(%11) {dims=(17,)} : f32 (17,)  [line 6]
%13 = literal(1) : f32 ()  [line 5]
%14 = broadcast(%13) {dims=(3,)} : f32 (3,)  [line 5]
%15 = scatter_add(%14, %2) {axes=[0] dims=(17,)} : f32 (17,)  [line 5]
%16 = broadcast(%13) {dims=(17,)} : f32 (17,)  [line 5]
%17 = mul(%5, %5) : f32 (17,)  [line 5]
%18 = sub(%16, %17) : f32 (17,)  [line 5]
%19 = mul(%15, %18) : f32 (17,)  [line 5]
%20 = mul(%19, %1) : f32 (17,)  [line 5]
%21 = add(%3, %3) : f32 (17,)  [line 5]
%22 = ifelse(%0, %20, %21) : f32 (17,)  [line 4]
%23 = mul(%12, %22) : f32 (17,)  [line 6]
%24 = sub(%3, %23) : f32 (17,)  [line 6]
%25 = ifelse(%0, %24, %3) : f32 (17,)  [line 6]
outputs: %10
update: w <- %25
== fusion
cluster 0 loops over (17,) reducing 0 unless %0: %8=mul %9=sum*
cluster 1 write over () if %0: %14=broadcast %15=scatter_add*
cluster 2 loops over (17,) if %0: %4=mul %5=tanh* %16=broadcast %17=mul %18=sub %19=mul %20=mul*
cluster 3 loops over (3,) reducing 0 if %0: %6=take %7=sum*
cluster 4 branch over (): %10=ifelse*
cluster 5 loops over (17,) if %0 unless %0: %21=add*
cluster 6 branch over () if %0: %22=ifelse*
cluster 7 loops over (17,) if %0: %12=broadcast %23=mul %24=sub*
cluster 8 branch over (): %25=ifelse*
== loop
program golden  arena 384 bytes
  buffer 5 at 128
  buffer 6 at 0
  buffer 7 at 256
if c  [line 5]
  # line 5
  kernel k0_scatter_add(in ids: i64[3], out scatter_add15: f32[17]) work 17 {
    vector<16> for i in 0..17 {
      scatter_add15[i] = 0.0
    }
    for i_1 in 0..3 {
      let t1 = check_index(ids[i_1], 17, site 0)
      scatter_add15[t1] = scatter_add15[t1] + 1.0
    }
  }
  # line 5
  kernel k1_mul_tanh_mul_sub_mul_mul(in x: f32[17], in w: f32[17], in scatter_add15: f32[17], out
          ifelse22: f32[17], out tanh5: f32[17]) work 340 {
    vector<16> for i in 0..17 {
      let t1 = x[i]
      let t2 = tanh(t1 * w[i])
      tanh5[i] = t2
      ifelse22[i] = scatter_add15[i] * (1.0 - t2 * t2) * t1
    }
  }
  # line 5
  kernel k2_take_sum(in ids: i64[3], in tanh5: f32[17], out ifelse10: f32[1]) work 33 {
    var acc: f32 = 0.0
    for i in 0..3 {
      let t1 = check_index(ids[i], 17, site 1)
      acc += tanh5[t1]
    }
    ifelse10[0] = acc
  }
  # line 6
  kernel k3_mul_sub(in ifelse22: f32[17], out w: f32[17]) work 51 {
    vector<16> for i in 0..17 {
      w[i] = w[i] - 0.1 * ifelse22[i]
    }
  }
  if c  [line 5]
  else
    # line 5
    kernel k4_add(in w: f32[17], out ifelse22: f32[17]) work 34 {
      vector<16> for i in 0..17 {
        let t1 = w[i]
        ifelse22[i] = t1 + t1
      }
    }
else
  # line 5
  kernel k5_mul_sum(in w: f32[17], out ifelse10: f32[1]) work 51 {
    var acc: f32 = 0.0
    vector<16> for i in 0..17 {
      let t1 = w[i]
      acc += t1 * t1
    }
    ifelse10[0] = acc
  }
)golden");
}

TEST_CASE("golden: a dump is the same every time") {
  const auto once = [] {
    const Tensor x = matrix("x");
    const Shared w = shared(Array::zeros({100, 10}), "w");
    const Tensor loss = mean(logsumexp(dot(x, w), 1));
    return dump({x}, {loss}, {{w, w - grad(loss, w)}});
  };
  CHECK(once() == once());
}
