// The loop IR of reductions in each of their forms, for vectors of 64 bytes, each below its
// program. `bash tests/run --update-golden` rewrites them.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/lower/kernels_text.h"
#include "tests/tools/golden.h"

using namespace kroton;  // NOLINT: tests

TEST_CASE("golden: sums along the first axis, the last and both") {
  const Tensor x = tensor("x", {dim("n"), 100});
  check_golden("along the first axis", kernels({x}, {sum(x, 0)}), R"golden(
program golden  arena 896*workers + 384*floor_div(n + 323, 324) + 64*floor_div(n + 1295, 1296) bytes
  buffer 2 at 0
# line 1
kernel k0_sum(in x: f32[100*n], out partial: f32[100*floor_div(n + 323, 324)]) work (200*n) {
  parallel for run in 0..(floor_div(n + 323, 324)) {
    registers accs: f32[112]
    vector<16 unrolled 112> for j in 0..100 {
      accs[j] = 0.0
    }
    for row in 0..min(n - run*324, 324) {
      vector<16 unrolled 112> for j_1 in 0..100 {
        accs[j_1] = accs[j_1] + x[j_1 + run*32400 + row*100]
      }
    }
    vector<16 unrolled 112> for j_2 in 0..100 {
      partial[j_2 + run*100] = accs[j_2]
    }
  }
}
# line 1
kernel k1_sum(in partial: f32[100*floor_div(n + 323, 324)], out sum1: f32[100], worker acc_group:
        f32[112], worker acc_total: f32[112]) work (100*floor_div(n + 323, 324)) {
  registers accs: f32[112]
  vector<16 unrolled 112> for j in 0..100 {
    accs[j] = 0.0
  }
  let t1 = 1 < (floor_div(n + 165887, 165888))
  for run_block in 0..(floor_div(n + 165887, 165888)) {
    for run in 0..min((floor_div(n + 323, 324)) - run_block*512, 512) {
      let t2 = (run_block*512 + run)*100
      vector<16 unrolled 112> for j_1 in 0..100 {
        accs[j_1] = accs[j_1] + partial[j_1 + t2]
      }
    }
    let t3 = mod(run_block, 512) == 0
    let t4 = (floor_div(n + 165887, 165888)) <= run_block + 1
    let t5 = mod(run_block + 1, 512) == 0 or t4
    let t6 = run_block < 512
    if t1 {
      vector<16 unrolled 112> for j_2 in 0..100 {
        acc_group[j_2] = select(t3, -0.0, acc_group[j_2]) + accs[j_2]
        if t5 {
          acc_total[j_2] = select(t6, -0.0, acc_total[j_2]) + acc_group[j_2]
          accs[j_2] = select(t4, acc_total[j_2], -0.0)
        } else {
          accs[j_2] = -0.0
        }
      }
    }
  }
  vector<16 unrolled 112> for j_3 in 0..100 {
    sum1[j_3] = accs[j_3]
  }
}
)golden");
  check_golden("along the last axis", kernels({x}, {sum(x, 1)}), R"golden(
program golden  arena 0 bytes
# line 1
kernel k0_sum(in x: f32[100*n], out sum1: f32[n]) work (200*n) {
  parallel for i_block in 0..(floor_div(n + 127, 128)) {
    let t1 = min(n - i_block*128, 128)
    let t2 = floor_div(t1, 16)
    for i_group in 0..t2 {
      registers accs: f32[16]
      vector<16 unrolled 16> for i in 0..16 {
        accs[i] = 0.0
      }
      var acc: f32 = accs[0]
      var acc_1: f32 = accs[1]
      var acc_2: f32 = accs[2]
      var acc_3: f32 = accs[3]
      var acc_4: f32 = accs[4]
      var acc_5: f32 = accs[5]
      var acc_6: f32 = accs[6]
      var acc_7: f32 = accs[7]
      var acc_8: f32 = accs[8]
      var acc_9: f32 = accs[9]
      var acc_10: f32 = accs[10]
      var acc_11: f32 = accs[11]
      var acc_12: f32 = accs[12]
      var acc_13: f32 = accs[13]
      var acc_14: f32 = accs[14]
      var acc_15: f32 = accs[15]
      let t3 = i_block*128 + i_group*16
      let t4 = t3*100
      let t5 = (t3 + 1)*100
      let t6 = (t3 + 2)*100
      let t7 = (t3 + 3)*100
      let t8 = (t3 + 4)*100
      let t9 = (t3 + 5)*100
      let t10 = (t3 + 6)*100
      let t11 = (t3 + 7)*100
      let t12 = (t3 + 8)*100
      let t13 = (t3 + 9)*100
      let t14 = (t3 + 10)*100
      let t15 = (t3 + 11)*100
      let t16 = (t3 + 12)*100
      let t17 = (t3 + 13)*100
      let t18 = (t3 + 14)*100
      let t19 = (t3 + 15)*100
      vector<16 unrolled 112> for j in 0..100 {
        acc += x[j + t4]
        acc_1 += x[j + t5]
        acc_2 += x[j + t6]
        acc_3 += x[j + t7]
        acc_4 += x[j + t8]
        acc_5 += x[j + t9]
        acc_6 += x[j + t10]
        acc_7 += x[j + t11]
        acc_8 += x[j + t12]
        acc_9 += x[j + t13]
        acc_10 += x[j + t14]
        acc_11 += x[j + t15]
        acc_12 += x[j + t16]
        acc_13 += x[j + t17]
        acc_14 += x[j + t18]
        acc_15 += x[j + t19]
      }
      accs[0] = acc
      accs[1] = acc_1
      accs[2] = acc_2
      accs[3] = acc_3
      accs[4] = acc_4
      accs[5] = acc_5
      accs[6] = acc_6
      accs[7] = acc_7
      accs[8] = acc_8
      accs[9] = acc_9
      accs[10] = acc_10
      accs[11] = acc_11
      accs[12] = acc_12
      accs[13] = acc_13
      accs[14] = acc_14
      accs[15] = acc_15
      vector<16 unrolled 16> for i_1 in 0..16 {
        sum1[t3 + i_1] = accs[i_1]
      }
    }
    stack accs_1: f32[16]
    let t20 = t2*16
    let t21 = t1 - t20
    vector<16 unrolled 16> for i_2 in 0..t21 {
      accs_1[i_2] = 0.0
    }
    let t22 = i_block*128 + t20
    for i_3 in 0..t21 {
      var acc_16: f32 = accs_1[i_3]
      let t23 = (t22 + i_3)*100
      vector<16 unrolled 112> for j in 0..100 {
        acc_16 += x[j + t23]
      }
      accs_1[i_3] = acc_16
    }
    vector<16 unrolled 16> for i_4 in 0..t21 {
      sum1[t22 + i_4] = accs_1[i_4]
    }
  }
}
)golden");
  check_golden("along both axes", kernels({x}, {sum(x)}), R"golden(
program golden  arena 64*floor_div(25*n + 32767, 32768) bytes
  buffer 2 at 0
# line 1
kernel k0_sum(in x: f32[100*n], out partial: f32[floor_div(25*n + 2047, 2048)]) work (200*n) {
  parallel for run in 0..(floor_div(25*n + 2047, 2048)) {
    var acc: f32 = 0.0
    vector<16 x4> for row in 0..min((100*n) - run*8192, 8192) {
      acc += x[run*8192 + row]
    }
    partial[run] = acc
  }
}
# line 1
kernel k1_sum(in partial: f32[floor_div(25*n + 2047, 2048)], out sum1: f32[1]) work (floor_div(25*n
        + 2047, 2048)) {
  var acc: f32 = 0.0
  vector<16 x4> for run in 0..(floor_div(25*n + 2047, 2048)) {
    acc += partial[run]
  }
  sum1[0] = acc
}
)golden");
}

TEST_CASE("golden: the position of the largest element of each row, and of each column") {
  const Tensor x = tensor("x", {dim("n"), 100});
  check_golden("argmax of rows", kernels({x}, {argmax(x, 1)}), R"golden(
program golden  arena 0 bytes
# line 1
kernel k0_argmax(in x: f32[100*n], out argmax1: i64[n]) work (300*n) {
  parallel for i_block in 0..(floor_div(n + 127, 128)) {
    let t1 = min(n - i_block*128, 128)
    let t2 = floor_div(t1, 16)
    for i_group in 0..t2 {
      registers accs: f32[16]
      registers positions: i64[16]
      vector<8 unrolled 16> for i in 0..16 {
        accs[i] = -inf
        positions[i] = 9223372036854775807
      }
      var acc: f32 = accs[0]
      var position: i64 = positions[0]
      var acc_1: f32 = accs[1]
      var position_1: i64 = positions[1]
      var acc_2: f32 = accs[2]
      var position_2: i64 = positions[2]
      var acc_3: f32 = accs[3]
      var position_3: i64 = positions[3]
      var acc_4: f32 = accs[4]
      var position_4: i64 = positions[4]
      var acc_5: f32 = accs[5]
      var position_5: i64 = positions[5]
      var acc_6: f32 = accs[6]
      var position_6: i64 = positions[6]
      var acc_7: f32 = accs[7]
      var position_7: i64 = positions[7]
      var acc_8: f32 = accs[8]
      var position_8: i64 = positions[8]
      var acc_9: f32 = accs[9]
      var position_9: i64 = positions[9]
      var acc_10: f32 = accs[10]
      var position_10: i64 = positions[10]
      var acc_11: f32 = accs[11]
      var position_11: i64 = positions[11]
      var acc_12: f32 = accs[12]
      var position_12: i64 = positions[12]
      var acc_13: f32 = accs[13]
      var position_13: i64 = positions[13]
      var acc_14: f32 = accs[14]
      var position_14: i64 = positions[14]
      var acc_15: f32 = accs[15]
      var position_15: i64 = positions[15]
      let t3 = i_block*128 + i_group*16
      let t4 = t3*100
      let t5 = (t3 + 1)*100
      let t6 = (t3 + 2)*100
      let t7 = (t3 + 3)*100
      let t8 = (t3 + 4)*100
      let t9 = (t3 + 5)*100
      let t10 = (t3 + 6)*100
      let t11 = (t3 + 7)*100
      let t12 = (t3 + 8)*100
      let t13 = (t3 + 9)*100
      let t14 = (t3 + 10)*100
      let t15 = (t3 + 11)*100
      let t16 = (t3 + 12)*100
      let t17 = (t3 + 13)*100
      let t18 = (t3 + 14)*100
      let t19 = (t3 + 15)*100
      vector<16 unrolled 112> for j in 0..100 {
        (acc, position) argmax= (x[j + t4], j)
        (acc_1, position_1) argmax= (x[j + t5], j)
        (acc_2, position_2) argmax= (x[j + t6], j)
        (acc_3, position_3) argmax= (x[j + t7], j)
        (acc_4, position_4) argmax= (x[j + t8], j)
        (acc_5, position_5) argmax= (x[j + t9], j)
        (acc_6, position_6) argmax= (x[j + t10], j)
        (acc_7, position_7) argmax= (x[j + t11], j)
        (acc_8, position_8) argmax= (x[j + t12], j)
        (acc_9, position_9) argmax= (x[j + t13], j)
        (acc_10, position_10) argmax= (x[j + t14], j)
        (acc_11, position_11) argmax= (x[j + t15], j)
        (acc_12, position_12) argmax= (x[j + t16], j)
        (acc_13, position_13) argmax= (x[j + t17], j)
        (acc_14, position_14) argmax= (x[j + t18], j)
        (acc_15, position_15) argmax= (x[j + t19], j)
      }
      accs[0] = acc
      positions[0] = position
      accs[1] = acc_1
      positions[1] = position_1
      accs[2] = acc_2
      positions[2] = position_2
      accs[3] = acc_3
      positions[3] = position_3
      accs[4] = acc_4
      positions[4] = position_4
      accs[5] = acc_5
      positions[5] = position_5
      accs[6] = acc_6
      positions[6] = position_6
      accs[7] = acc_7
      positions[7] = position_7
      accs[8] = acc_8
      positions[8] = position_8
      accs[9] = acc_9
      positions[9] = position_9
      accs[10] = acc_10
      positions[10] = position_10
      accs[11] = acc_11
      positions[11] = position_11
      accs[12] = acc_12
      positions[12] = position_12
      accs[13] = acc_13
      positions[13] = position_13
      accs[14] = acc_14
      positions[14] = position_14
      accs[15] = acc_15
      positions[15] = position_15
      vector<8 unrolled 16> for i_1 in 0..16 {
        let t20 = positions[i_1]
        argmax1[t3 + i_1] = select(t20 == 9223372036854775807, 0, t20)
      }
    }
    stack accs_1: f32[16]
    stack positions_1: i64[16]
    let t21 = t2*16
    let t22 = t1 - t21
    vector<8 x2> for i_2 in 0..t22 {
      accs_1[i_2] = -inf
      positions_1[i_2] = 9223372036854775807
    }
    let t23 = i_block*128 + t21
    for i_3 in 0..t22 {
      var acc_16: f32 = accs_1[i_3]
      var position_16: i64 = positions_1[i_3]
      let t24 = (t23 + i_3)*100
      vector<16 unrolled 112> for j in 0..100 {
        (acc_16, position_16) argmax= (x[j + t24], j)
      }
      accs_1[i_3] = acc_16
      positions_1[i_3] = position_16
    }
    vector<8 x2> for i_4 in 0..t22 {
      let t25 = positions_1[i_4]
      argmax1[t23 + i_4] = select(t25 == 9223372036854775807, 0, t25)
    }
  }
}
)golden");
  check_golden("argmax of columns", kernels({x}, {argmax(x, 0)}), R"golden(
program golden  arena 1152*floor_div(n + 323, 324) + 64*floor_div(n + 1295, 1296) + 64*floor_div(n +
        647, 648) bytes
  buffer 2 at 0
  buffer 3 at 384*floor_div(n + 323, 324) + 64*floor_div(n + 1295, 1296)
# line 1
kernel k0_argmax(in x: f32[100*n], out partial: f32[100*floor_div(n + 323, 324)], out
        partial_position: i64[100*floor_div(n + 323, 324)]) work (300*n) {
  parallel for run in 0..(floor_div(n + 323, 324)) {
    stack accs: f32[104]
    vector<8> for j in 0..8 {
      accs[j + 96] = 0.0
    }
    stack positions: i64[104]
    vector<8> for j_1 in 0..100 {
      accs[j_1] = -inf
      positions[j_1] = 9223372036854775807
    }
    let t1 = min(n - run*324, 324)
    let t2 = floor_div(t1, 4)
    for row in 0..t2 {
      let t3 = run*324 + row*4
      let t4 = (row*4 + 1)*100
      let t5 = run*324 + (row*4 + 1)
      let t6 = (row*4 + 2)*100
      let t7 = run*324 + (row*4 + 2)
      let t8 = (row*4 + 3)*100
      let t9 = run*324 + (row*4 + 3)
      vector<8> for j_2 in 0..100 {
        var acc: f32 = accs[j_2]
        var position: i64 = positions[j_2]
        let t10 = x[j_2 + run*32400 + row*400]
        let t11 = t3 < position
        let t12 = acc < t10 or t10 == acc and t11 or t10 != t10 and (acc == acc or t11)
        let t13 = select(t12, t10, acc)
        let t14 = x[j_2 + run*32400 + t4]
        let t15 = select(t12, t3, position)
        let t16 = t5 < t15
        let t17 = t13 < t14 or t14 == t13 and t16 or t14 != t14 and (t13 == t13 or t16)
        let t18 = select(t17, t14, t13)
        let t19 = x[j_2 + run*32400 + t6]
        let t20 = select(t17, t5, t15)
        let t21 = t7 < t20
        let t22 = t18 < t19 or t19 == t18 and t21 or t19 != t19 and (t18 == t18 or t21)
        let t23 = select(t22, t19, t18)
        let t24 = x[j_2 + run*32400 + t8]
        let t25 = select(t22, t7, t20)
        let t26 = t9 < t25
        let t27 = t23 < t24 or t24 == t23 and t26 or t24 != t24 and (t23 == t23 or t26)
        accs[j_2] = select(t27, t24, t23)
        positions[j_2] = select(t27, t9, t25)
      }
    }
    let t28 = t2*4
    for row_1 in 0..(t1 - t28) {
      let t29 = t28 + row_1
      let t30 = t29*100
      let t31 = run*324 + t29
      vector<8> for j_3 in 0..100 {
        var acc_1: f32 = accs[j_3]
        var position_1: i64 = positions[j_3]
        let t32 = x[j_3 + run*32400 + t30]
        let t33 = t31 < position_1
        let t34 = acc_1 < t32 or t32 == acc_1 and t33 or t32 != t32 and (acc_1 == acc_1 or t33)
        accs[j_3] = select(t34, t32, acc_1)
        positions[j_3] = select(t34, t31, position_1)
      }
    }
    vector<8> for j_4 in 0..100 {
      partial[j_4 + run*100] = accs[j_4]
      partial_position[j_4 + run*100] = positions[j_4]
    }
  }
}
# line 1
kernel k1_argmax(in partial: f32[100*floor_div(n + 323, 324)], in partial_position:
        i64[100*floor_div(n + 323, 324)], out argmax1: i64[100]) work (100*floor_div(n + 323, 324))
        {
  if (floor_div(n + 323, 324)) <= 16 {
    vector<8> for j in 0..100 {
      var acc: f32 = -inf
      var position: i64 = 9223372036854775807
      for run in 0..(min(floor_div(n + 323, 324), 16)) {
        (acc, position) argmax= (partial[j + run*100], partial_position[j + run*100])
      }
      argmax1[j] = select(position == 9223372036854775807, 0, position)
    }
  } else {
    stack accs: f32[104]
    vector<8> for j_1 in 0..8 {
      accs[j_1 + 96] = 0.0
    }
    stack positions: i64[104]
    vector<8> for j_2 in 0..100 {
      accs[j_2] = -inf
      positions[j_2] = 9223372036854775807
    }
    for run_1 in 0..(floor_div(n + 323, 1296)) {
      let t1 = (run_1*4 + 1)*100
      let t2 = (run_1*4 + 2)*100
      let t3 = (run_1*4 + 3)*100
      vector<8> for j_3 in 0..100 {
        var acc_1: f32 = accs[j_3]
        var position_1: i64 = positions[j_3]
        let t4 = partial[j_3 + run_1*400]
        let t5 = partial_position[j_3 + run_1*400]
        let t6 = t5 < position_1
        let t7 = acc_1 < t4 or t4 == acc_1 and t6 or t4 != t4 and (acc_1 == acc_1 or t6)
        let t8 = select(t7, t4, acc_1)
        let t9 = j_3 + t1
        let t10 = partial[t9]
        let t11 = partial_position[t9]
        let t12 = select(t7, t5, position_1)
        let t13 = t11 < t12
        let t14 = t8 < t10 or t10 == t8 and t13 or t10 != t10 and (t8 == t8 or t13)
        let t15 = select(t14, t10, t8)
        let t16 = j_3 + t2
        let t17 = partial[t16]
        let t18 = partial_position[t16]
        let t19 = select(t14, t11, t12)
        let t20 = t18 < t19
        let t21 = t15 < t17 or t17 == t15 and t20 or t17 != t17 and (t15 == t15 or t20)
        let t22 = select(t21, t17, t15)
        let t23 = j_3 + t3
        let t24 = partial[t23]
        let t25 = partial_position[t23]
        let t26 = select(t21, t18, t19)
        let t27 = t25 < t26
        let t28 = t22 < t24 or t24 == t22 and t27 or t24 != t24 and (t22 == t22 or t27)
        accs[j_3] = select(t28, t24, t22)
        positions[j_3] = select(t28, t25, t26)
      }
    }
    for run_2 in 0..(floor_div(n + 323, 324) - 4*floor_div(n + 323, 1296)) {
      vector<8> for j_4 in 0..100 {
        var acc_2: f32 = accs[j_4]
        var position_2: i64 = positions[j_4]
        let t29 = j_4 + (run_2 + (4*floor_div(n + 323, 1296)))*100
        let t30 = partial[t29]
        let t31 = partial_position[t29]
        let t32 = t31 < position_2
        let t33 = acc_2 < t30 or t30 == acc_2 and t32 or t30 != t30 and (acc_2 == acc_2 or t32)
        accs[j_4] = select(t33, t30, acc_2)
        positions[j_4] = select(t33, t31, position_2)
      }
    }
    vector<8> for j_5 in 0..100 {
      let t34 = positions[j_5]
      argmax1[j_5] = select(t34 == 9223372036854775807, 0, t34)
    }
  }
}
)golden");
}

TEST_CASE("golden: softmax of rows of known size, and of columns") {
  const Tensor x = tensor("x", {dim("n"), 100});
  check_golden("softmax of known rows", kernels({x}, {softmax(x, 1)}), R"golden(
program golden  arena 0 bytes
# line 1
kernel k0_max_sub_exp_sum_div_mul(in x: f32[100*n], out mul10: f32[100*n]) work (1704*n) {
  parallel for i in 0..n {
    var acc: f32 = -inf
    var acc_1: f32 = 0.0
    vector<16 x4> for j in 0..100 {
      acc max= x[j + i*100]
    }
    vector<16 x2> for j in 0..100 {
      let t1 = exp(x[j + i*100] - acc)
      mul10[j + i*100] = t1
      acc_1 += t1
    }
    let t2 = 1.0 / acc_1
    vector<16 x2> for j in 0..100 {
      mul10[j + i*100] = mul10[j + i*100] * t2
    }
  }
}
)golden");
  check_golden("softmax of columns", kernels({x}, {softmax(x, 0)}), R"golden(
program golden  arena 384*n + 896*workers + 384*floor_div(n + 323, 324) + 64*floor_div(n + 1295,
        1296) + 64*floor_div(n + 3, 4) + 448 bytes
  buffer 2 at 0
  buffer 4 at 384*floor_div(n + 323, 324) + 64*floor_div(n + 1295, 1296)
  buffer 6 at 384*floor_div(n + 323, 324) + 64*floor_div(n + 1295, 1296) + 448
  buffer 7 at 0
  buffer 9 at 384*floor_div(n + 323, 324) + 64*floor_div(n + 1295, 1296)
# line 1
kernel k0_max_sub_exp_sum_div(in x: f32[100*n], out partial: f32[100*floor_div(n + 323, 324)]) work
        (1600*n + 400) {
  parallel for run in 0..(floor_div(n + 323, 324)) {
    registers accs: f32[112]
    vector<16 unrolled 112> for i in 0..100 {
      accs[i] = -inf
    }
    for row in 0..min(n - run*324, 324) {
      vector<16 unrolled 112> for i_1 in 0..100 {
        accs[i_1] = max(accs[i_1], x[i_1 + run*32400 + row*100])
      }
    }
    vector<16 unrolled 112> for i_2 in 0..100 {
      partial[i_2 + run*100] = accs[i_2]
    }
  }
}
# line 1
kernel k1_max_sub_exp_sum_div(in partial: f32[100*floor_div(n + 323, 324)], out acc: f32[100]) work
        (100*floor_div(n + 323, 324)) {
  registers accs: f32[112]
  vector<16 unrolled 112> for i in 0..100 {
    accs[i] = -inf
  }
  for run in 0..(floor_div(n + 323, 324)) {
    vector<16 unrolled 112> for i_1 in 0..100 {
      accs[i_1] = max(accs[i_1], partial[i_1 + run*100])
    }
  }
  vector<16 unrolled 112> for i_2 in 0..100 {
    acc[i_2] = accs[i_2]
  }
}
# line 1
kernel k2_max_sub_exp_sum_div(in x: f32[100*n], in acc: f32[100], out exp4: f32[100*n], out partial:
        f32[100*floor_div(n + 323, 324)]) work (1600*n + 400) {
  parallel for run in 0..(floor_div(n + 323, 324)) {
    registers accs: f32[112]
    vector<16 unrolled 112> for i in 0..100 {
      accs[i] = 0.0
    }
    for row in 0..min(n - run*324, 324) {
      vector<16 unrolled 112> for i_1 in 0..100 {
        let t1 = i_1 + run*32400 + row*100
        let t2 = exp(x[t1] - acc[i_1])
        accs[i_1] = accs[i_1] + t2
        exp4[t1] = t2
      }
    }
    vector<16 unrolled 112> for i_2 in 0..100 {
      partial[i_2 + run*100] = accs[i_2]
    }
  }
}
# line 1
kernel k3_max_sub_exp_sum_div(in partial: f32[100*floor_div(n + 323, 324)], out div8: f32[100],
        worker acc_group: f32[112], worker acc_total: f32[112]) work (100*floor_div(n + 323, 324)) {
  registers accs: f32[112]
  vector<16 unrolled 112> for i in 0..100 {
    accs[i] = 0.0
  }
  let t1 = 1 < (floor_div(n + 165887, 165888))
  for run_block in 0..(floor_div(n + 165887, 165888)) {
    for run in 0..min((floor_div(n + 323, 324)) - run_block*512, 512) {
      let t2 = (run_block*512 + run)*100
      vector<16 unrolled 112> for i_1 in 0..100 {
        accs[i_1] = accs[i_1] + partial[i_1 + t2]
      }
    }
    let t3 = mod(run_block, 512) == 0
    let t4 = (floor_div(n + 165887, 165888)) <= run_block + 1
    let t5 = mod(run_block + 1, 512) == 0 or t4
    let t6 = run_block < 512
    if t1 {
      vector<16 unrolled 112> for i_2 in 0..100 {
        acc_group[i_2] = select(t3, -0.0, acc_group[i_2]) + accs[i_2]
        if t5 {
          acc_total[i_2] = select(t6, -0.0, acc_total[i_2]) + acc_group[i_2]
          accs[i_2] = select(t4, acc_total[i_2], -0.0)
        } else {
          accs[i_2] = -0.0
        }
      }
    }
  }
  vector<16 unrolled 112> for i_3 in 0..100 {
    div8[i_3] = 1.0 / accs[i_3]
  }
}
# line 1
kernel k4_mul(in exp4: f32[100*n], in div8: f32[100], out mul10: f32[100*n]) work (200*n) {
  parallel for i in 0..n {
    vector<16 x2> for j in 0..100 {
      mul10[j + i*100] = exp4[j + i*100] * div8[j]
    }
  }
}
)golden");
}
