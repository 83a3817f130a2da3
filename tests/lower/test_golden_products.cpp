// The loop IR of products in each of their forms, for vectors of 64 bytes, each below its program.
// `bash tests/run --update-golden` rewrites them.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/lower/kernels_text.h"
#include "tests/tools/golden.h"

using namespace kroton;  // NOLINT: tests

TEST_CASE("golden: a product of few known rows and columns") {
  const Tensor a = tensor("a", {3, 4});
  const Tensor b = tensor("b", {4, 5});
  check_golden("few rows and columns", kernels({a, b}, {dot(a, b)}), R"golden(
program golden  arena 0 bytes
# line 1
kernel k0_dot(in a: f32[12], in b: f32[20], out dot2: f32[15]) work 135 {
  parallel for task in 0..1 {
    for tile in 0..1 {
      registers tile_1: f32[48]
      registers row: f32[16]
      unroll for i in 0..3 {
        vector<16 unrolled 16> for j in 0..16 {
          tile_1[i*16 + j] = 0.0
        }
      }
      let t1 = task*3 + tile*3
      for k in 0..4 {
        vector<16 unrolled 16> for j_1 in 0..16 {
          row[j_1] = 0.0
        }
        vector<16 unrolled 16> for j_2 in 0..5 {
          row[j_2] = b[j_2 + k*5]
        }
        unroll for i_1 in 0..3 {
          let t2 = a[k + (t1 + i_1)*4]
          vector<16 unrolled 16> for j_3 in 0..16 {
            tile_1[i_1*16 + j_3] = fma(t2, row[j_3], tile_1[i_1*16 + j_3])
          }
        }
      }
      unroll for i_2 in 0..3 {
        let t3 = (t1 + i_2)*5
        vector<16 unrolled 16> for j_4 in 0..5 {
          dot2[j_4 + t3] = tile_1[i_2*16 + j_4]
        }
      }
    }
  }
}
)golden");
}

TEST_CASE("golden: a product of free sizes") {
  const Tensor a = matrix("a");
  const Tensor b = matrix("b");
  check_golden("free sizes", kernels({a, b}, {dot(a, b)}), R"golden(
program golden  arena 256*workers*a.shape[0] + 264704*workers bytes
# line 1
kernel k0_dot(in a: f32[a.shape[0]*a.shape[1]], in b: f32[a.shape[1]*b.shape[1]], out dot2:
        f32[a.shape[0]*b.shape[1]]) work (2*a.shape[0]*a.shape[1]*min(min(floor_div(a.shape[1], 17),
        1), min(b.shape[1], max(0, -b.shape[1] + 2))) + a.shape[0]*min(min(floor_div(a.shape[1],
        17), 1), min(b.shape[1], max(0, -b.shape[1] + 2)))) {
  parallel for i_block in 0..(floor_div(a.shape[0]*min(min(floor_div(a.shape[1], 17), 1),
          min(b.shape[1], max(0, -b.shape[1] + 2))) + 3, 4)) {
    stack sums: f32[4]
    let t1 = min((a.shape[0]*min(min(floor_div(a.shape[1], 17), 1), min(b.shape[1], max(0,
            -b.shape[1] + 2)))) - i_block*4, 4)
    vector<4 unrolled 4> for i in 0..t1 {
      sums[i] = 0.0
    }
    let t2 = floor_div(t1, 4)
    for i_1 in 0..t2 {
      var sum: f32 = sums[i_1*4]
      var sum_1: f32 = sums[i_1*4 + 1]
      var sum_2: f32 = sums[i_1*4 + 2]
      var sum_3: f32 = sums[i_1*4 + 3]
      let t3 = (i_block*4 + i_1*4)*a.shape[1]
      let t4 = (i_block*4 + (i_1*4 + 1))*a.shape[1]
      let t5 = (i_block*4 + (i_1*4 + 2))*a.shape[1]
      let t6 = (i_block*4 + (i_1*4 + 3))*a.shape[1]
      vector<16 x2> for k in 0..a.shape[1] {
        let t7 = b[k]
        sum += a[k + t3] * t7
        sum_1 += a[k + t4] * t7
        sum_2 += a[k + t5] * t7
        sum_3 += a[k + t6] * t7
      }
      sums[i_1*4] = sum
      sums[i_1*4 + 1] = sum_1
      sums[i_1*4 + 2] = sum_2
      sums[i_1*4 + 3] = sum_3
    }
    let t8 = t2*4
    for i_2 in 0..(t1 - t8) {
      let t9 = t8 + i_2
      var sum_4: f32 = sums[t9]
      let t10 = (i_block*4 + t9)*a.shape[1]
      vector<16 x2> for k in 0..a.shape[1] {
        sum_4 += a[k + t10] * b[k]
      }
      sums[t9] = sum_4
    }
    vector<4 unrolled 4> for i_3 in 0..t1 {
      dot2[i_block*4 + i_3] = sums[i_3]
    }
  }
}
# line 1
kernel k1_dot(in a: f32[a.shape[0]*a.shape[1]], in b: f32[a.shape[1]*b.shape[1]], out dot2:
        f32[a.shape[0]*b.shape[1]], worker sum_group: f32[1024], worker sum_total: f32[1024]) work
        (2*a.shape[1]*b.shape[1]*min(-min(min(floor_div(a.shape[1], 17), 1), min(b.shape[1], max(0,
        -b.shape[1] + 2))) + 1, min(min(floor_div(a.shape[1], 17), 1), min(a.shape[0], max(0,
        -a.shape[0] + 2)))) + b.shape[1]*min(-min(min(floor_div(a.shape[1], 17), 1), min(b.shape[1],
        max(0, -b.shape[1] + 2))) + 1, min(min(floor_div(a.shape[1], 17), 1), min(a.shape[0], max(0,
        -a.shape[0] + 2))))) {
  let t1 = a.shape[1] <= 16
  let t2 = 1 < (floor_div(a.shape[1] + 511, 512))
  parallel for j_block in 0..(floor_div(b.shape[1]*min(-min(min(floor_div(a.shape[1], 17), 1),
          min(b.shape[1], max(0, -b.shape[1] + 2))) + 1, min(min(floor_div(a.shape[1], 17), 1),
          min(a.shape[0], max(0, -a.shape[0] + 2)))) + 1023, 1024)) {
    let t3 = min((b.shape[1]*min(-min(min(floor_div(a.shape[1], 17), 1), min(b.shape[1], max(0,
            -b.shape[1] + 2))) + 1, min(min(floor_div(a.shape[1], 17), 1), min(a.shape[0], max(0,
            -a.shape[0] + 2))))) - j_block*1024, 1024)
    let t4 = floor_div(t3 - 1, 16)*16
    if t1 or t3 <= 16 {
      vector<16> for j in 0..t3 {
        var sum: f32 = 0.0
        for block in 0..(floor_div(a.shape[1] + 262143, 262144)) {
          var sum_1: f32 = -0.0
          for block_1 in 0..min((floor_div(a.shape[1] + 511, 512)) - block*512, 512) {
            var sum_2: f32 = -0.0
            let t5 = (block*512 + block_1)*512
            for k in 0..min(a.shape[1] - t5, 512) {
              let t6 = t5 + k
              sum_2 += a[t6] * b[j_block*1024 + j + t6*b.shape[1]]
            }
            sum_1 += sum_2
          }
          sum += sum_1
        }
        dot2[j_block*1024 + j] = sum
      }
    } else {
      stack sums: f32[1024]
      vector<16> for j_1 in 0..16 {
        sums[t4 + j_1] = 0.0
      }
      vector<16> for j_2 in 0..t3 {
        sums[j_2] = 0.0
      }
      for k_block in 0..(floor_div(a.shape[1] + 511, 512)) {
        let t7 = min(a.shape[1] - k_block*512, 512)
        let t8 = floor_div(t7, 4)
        for k_1 in 0..t8 {
          let t9 = k_block*512 + k_1*4
          let t10 = t9*b.shape[1]
          let t11 = k_block*512 + (k_1*4 + 1)
          let t12 = t11*b.shape[1]
          let t13 = k_block*512 + (k_1*4 + 2)
          let t14 = t13*b.shape[1]
          let t15 = k_block*512 + (k_1*4 + 3)
          let t16 = t15*b.shape[1]
          vector<16> for j_3 in 0..t3 {
            once let t17 = a[t9]
            once let t18 = a[t11]
            once let t19 = a[t13]
            once let t20 = a[t15]
            sums[j_3] = sums[j_3] + t17 * b[j_block*1024 + j_3 + t10] + t18 * b[j_block*1024 + j_3 +
                    t12] + t19 * b[j_block*1024 + j_3 + t14] + t20 * b[j_block*1024 + j_3 + t16]
          }
        }
        let t21 = t8*4
        for k_2 in 0..(t7 - t21) {
          let t22 = k_block*512 + (t21 + k_2)
          let t23 = t22*b.shape[1]
          vector<16> for j_4 in 0..t3 {
            once let t24 = a[t22]
            sums[j_4] = sums[j_4] + t24 * b[j_block*1024 + j_4 + t23]
          }
        }
        let t25 = mod(k_block, 512) == 0
        let t26 = (floor_div(a.shape[1] + 511, 512)) <= k_block + 1
        let t27 = mod(k_block + 1, 512) == 0 or t26
        let t28 = k_block < 512
        if t2 {
          vector<16> for j_5 in 0..t3 {
            sum_group[j_5] = select(t25, -0.0, sum_group[j_5]) + sums[j_5]
            if t27 {
              sum_total[j_5] = select(t28, -0.0, sum_total[j_5]) + sum_group[j_5]
              sums[j_5] = select(t26, sum_total[j_5], -0.0)
            } else {
              sums[j_5] = -0.0
            }
          }
        }
      }
      vector<16> for j_6 in 0..t3 {
        dot2[j_block*1024 + j_6] = sums[j_6]
      }
    }
  }
}
# line 1
kernel k2_dot(in a: f32[a.shape[0]*a.shape[1]], in b: f32[a.shape[1]*b.shape[1]], out dot2:
        f32[a.shape[0]*b.shape[1]], worker panel: f32[65536], worker earlier: f32[384], worker kept:
        f32[64*a.shape[0] + 256]) work
        (-2*a.shape[0]*a.shape[1]*b.shape[1]*min(min(floor_div(a.shape[1], 17), 1), min(b.shape[1],
        max(0, -b.shape[1] + 2))) -
        2*a.shape[0]*a.shape[1]*b.shape[1]*min(-min(min(floor_div(a.shape[1], 17), 1),
        min(b.shape[1], max(0, -b.shape[1] + 2))) + 1, min(min(floor_div(a.shape[1], 17), 1),
        min(a.shape[0], max(0, -a.shape[0] + 2)))) + 2*a.shape[0]*a.shape[1]*b.shape[1] -
        a.shape[0]*b.shape[1]*min(min(floor_div(a.shape[1], 17), 1), min(b.shape[1], max(0,
        -b.shape[1] + 2))) - a.shape[0]*b.shape[1]*min(-min(min(floor_div(a.shape[1], 17), 1),
        min(b.shape[1], max(0, -b.shape[1] + 2))) + 1, min(min(floor_div(a.shape[1], 17), 1),
        min(a.shape[0], max(0, -a.shape[0] + 2)))) + a.shape[0]*b.shape[1]) {
  let t1 = floor_div(a.shape[0] - floor_div(a.shape[0], 6)*6 + 1, 2)
  parallel for task in 0..(-floor_div(b.shape[1] + 63, 64)*min(min(floor_div(a.shape[1], 17), 1),
          min(b.shape[1], max(0, -b.shape[1] + 2))) - floor_div(b.shape[1] + 63,
          64)*min(-min(min(floor_div(a.shape[1], 17), 1), min(b.shape[1], max(0, -b.shape[1] + 2)))
          + 1, min(min(floor_div(a.shape[1], 17), 1), min(a.shape[0], max(0, -a.shape[0] + 2)))) +
          floor_div(b.shape[1] + 63, 64)) {
    let t2 = task*64 < (64*floor_div(b.shape[1], 64))
    for run in 0..(max(floor_div(a.shape[1] + 1023, 1024), 1)) {
      let t3 = min(a.shape[1] - run*1024, 1024)
      if t2 {
        for k in 0..t3 {
          let t4 = (run*1024 + k)*b.shape[1]
          vector<16 unrolled 64> for j in 0..64 {
            panel[k*64 + j] = b[task*64 + j + t4]
          }
        }
      } else {
        for k_1 in 0..t3 {
          vector<16 unrolled 64> for j_1 in 0..64 {
            panel[k_1*64 + j_1] = 0.0
          }
        }
        for k_2 in 0..t3 {
          let t5 = (run*1024 + k_2)*b.shape[1]
          vector<16 unrolled 64> for j_1 in 0..(b.shape[1] - 64*floor_div(b.shape[1], 64)) {
            panel[k_2*64 + j_1] = b[task*64 + j_1 + t5]
          }
        }
      }
      let t6 = max(floor_div(t3 + 1023, 1024), 1)
      let t7 = 0 < run
      let t8 = run + 1 < (max(floor_div(a.shape[1] + 1023, 1024), 1))
      if t2 {
        for tile in 0..floor_div(a.shape[0], 6) {
          registers tile_1: f32[384]
          for k_block in 0..t6 {
            unroll for i in 0..6 {
              vector<16 unrolled 64> for j_2 in 0..64 {
                tile_1[i*64 + j_2] = 0.0
              }
            }
            for k_3 in 0..min(t3 - k_block*1024, 1024) {
              let t9 = run*1024 + (k_block*1024 + k_3)
              let t10 = (k_block*1024 + k_3)*64
              unroll for i_1 in 0..6 {
                let t11 = a[t9 + (tile*6 + i_1)*a.shape[1]]
                vector<16 unrolled 64> for j_3 in 0..64 {
                  tile_1[i_1*64 + j_3] = fma(t11, panel[t10 + j_3], tile_1[i_1*64 + j_3])
                }
              }
            }
            if 0 < k_block {
              unroll for i_2 in 0..6 {
                vector<16 unrolled 64> for j_4 in 0..64 {
                  tile_1[i_2*64 + j_4] = earlier[i_2*64 + j_4] + tile_1[i_2*64 + j_4]
                }
              }
            }
            if k_block + 1 < t6 {
              unroll for i_3 in 0..6 {
                vector<16 unrolled 64> for j_5 in 0..64 {
                  earlier[i_3*64 + j_5] = tile_1[i_3*64 + j_5]
                }
              }
            }
          }
          if t7 {
            unroll for i_4 in 0..6 {
              let t12 = (tile*6 + i_4)*64
              vector<16 unrolled 64> for j_6 in 0..64 {
                tile_1[i_4*64 + j_6] = kept[t12 + j_6] + tile_1[i_4*64 + j_6]
              }
            }
          }
          if t8 {
            unroll for i_5 in 0..6 {
              let t13 = (tile*6 + i_5)*64
              vector<16 unrolled 64> for j_7 in 0..64 {
                kept[t13 + j_7] = tile_1[i_5*64 + j_7]
              }
            }
          } else {
            unroll for i_6 in 0..6 {
              let t14 = (tile*6 + i_6)*b.shape[1]
              vector<16 unrolled 64> for j_8 in 0..64 {
                dot2[task*64 + j_8 + t14] = tile_1[i_6*64 + j_8]
              }
            }
          }
        }
        for tile_2 in 0..t1 {
          registers tile_3: f32[128]
          let t15 = floor_div(a.shape[0], 6)*6 + tile_2*2
          for k_block_1 in 0..t6 {
            unroll for i_7 in 0..2 {
              vector<16 unrolled 64> for j_9 in 0..64 {
                tile_3[i_7*64 + j_9] = 0.0
              }
            }
            for k_4 in 0..min(t3 - k_block_1*1024, 1024) {
              let t16 = run*1024 + (k_block_1*1024 + k_4)
              let t17 = (k_block_1*1024 + k_4)*64
              unroll for i_8 in 0..2 {
                let t18 = a[t16 + min(t15 + i_8, a.shape[0] - 1)*a.shape[1]]
                vector<16 unrolled 64> for j_10 in 0..64 {
                  tile_3[i_8*64 + j_10] = fma(t18, panel[t17 + j_10], tile_3[i_8*64 + j_10])
                }
              }
            }
            if 0 < k_block_1 {
              unroll for i_9 in 0..2 {
                vector<16 unrolled 64> for j_11 in 0..64 {
                  tile_3[i_9*64 + j_11] = earlier[i_9*64 + j_11] + tile_3[i_9*64 + j_11]
                }
              }
            }
            if k_block_1 + 1 < t6 {
              unroll for i_10 in 0..2 {
                vector<16 unrolled 64> for j_12 in 0..64 {
                  earlier[i_10*64 + j_12] = tile_3[i_10*64 + j_12]
                }
              }
            }
          }
          if t7 {
            unroll for i_11 in 0..2 {
              let t19 = (t15 + i_11)*64
              vector<16 unrolled 64> for j_13 in 0..64 {
                tile_3[i_11*64 + j_13] = kept[t19 + j_13] + tile_3[i_11*64 + j_13]
              }
            }
          }
          if t8 {
            unroll for i_12 in 0..2 {
              let t20 = (t15 + i_12)*64
              vector<16 unrolled 64> for j_14 in 0..64 {
                kept[t20 + j_14] = tile_3[i_12*64 + j_14]
              }
            }
          } else {
            unroll for i_13 in 0..2 {
              let t21 = t15 + i_13
              let t22 = t21*b.shape[1]
              if t21 <= (a.shape[0] - 1) {
                vector<16 unrolled 64> for j_15 in 0..64 {
                  dot2[task*64 + j_15 + t22] = tile_3[i_13*64 + j_15]
                }
              }
            }
          }
        }
      } else {
        for strip in 0..(-floor_div(b.shape[1], 64) + floor_div(b.shape[1] -
                31*floor_div(b.shape[1], 64), 33)) {
          let t23 = task*64 + strip*64
          for tile_4 in 0..floor_div(a.shape[0], 6) {
            registers tile_5: f32[384]
            for k_block_2 in 0..t6 {
              unroll for i_14 in 0..6 {
                vector<16 unrolled 64> for j_16 in 0..64 {
                  tile_5[i_14*64 + j_16] = 0.0
                }
              }
              for k_5 in 0..min(t3 - k_block_2*1024, 1024) {
                let t24 = run*1024 + (k_block_2*1024 + k_5)
                let t25 = (k_block_2*1024 + k_5)*64
                unroll for i_15 in 0..6 {
                  let t26 = a[t24 + (tile_4*6 + i_15)*a.shape[1]]
                  vector<16 unrolled 64> for j_17 in 0..64 {
                    tile_5[i_15*64 + j_17] = fma(t26, panel[t25 + (strip*64 + j_17)], tile_5[i_15*64
                            + j_17])
                  }
                }
              }
              if 0 < k_block_2 {
                unroll for i_16 in 0..6 {
                  vector<16 unrolled 64> for j_18 in 0..64 {
                    tile_5[i_16*64 + j_18] = earlier[i_16*64 + j_18] + tile_5[i_16*64 + j_18]
                  }
                }
              }
              if k_block_2 + 1 < t6 {
                unroll for i_17 in 0..6 {
                  vector<16 unrolled 64> for j_19 in 0..64 {
                    earlier[i_17*64 + j_19] = tile_5[i_17*64 + j_19]
                  }
                }
              }
            }
            if t7 {
              unroll for i_18 in 0..6 {
                let t27 = (tile_4*6 + i_18)*64 + strip*64
                vector<16 unrolled 64> for j_20 in 0..64 {
                  tile_5[i_18*64 + j_20] = kept[t27 + j_20] + tile_5[i_18*64 + j_20]
                }
              }
            }
            if t8 {
              unroll for i_19 in 0..6 {
                let t28 = (tile_4*6 + i_19)*64 + strip*64
                vector<16 unrolled 64> for j_21 in 0..64 {
                  kept[t28 + j_21] = tile_5[i_19*64 + j_21]
                }
              }
            } else {
              unroll for i_20 in 0..6 {
                let t29 = (tile_4*6 + i_20)*b.shape[1]
                vector<16 unrolled 64> for j_22 in 0..(b.shape[1] - 64*floor_div(b.shape[1], 64)) {
                  dot2[t23 + j_22 + t29] = tile_5[i_20*64 + j_22]
                }
              }
            }
          }
          for tile_6 in 0..t1 {
            registers tile_7: f32[128]
            let t30 = floor_div(a.shape[0], 6)*6 + tile_6*2
            for k_block_3 in 0..t6 {
              unroll for i_21 in 0..2 {
                vector<16 unrolled 64> for j_23 in 0..64 {
                  tile_7[i_21*64 + j_23] = 0.0
                }
              }
              for k_6 in 0..min(t3 - k_block_3*1024, 1024) {
                let t31 = run*1024 + (k_block_3*1024 + k_6)
                let t32 = (k_block_3*1024 + k_6)*64
                unroll for i_22 in 0..2 {
                  let t33 = a[t31 + min(t30 + i_22, a.shape[0] - 1)*a.shape[1]]
                  vector<16 unrolled 64> for j_24 in 0..64 {
                    tile_7[i_22*64 + j_24] = fma(t33, panel[t32 + (strip*64 + j_24)], tile_7[i_22*64
                            + j_24])
                  }
                }
              }
              if 0 < k_block_3 {
                unroll for i_23 in 0..2 {
                  vector<16 unrolled 64> for j_25 in 0..64 {
                    tile_7[i_23*64 + j_25] = earlier[i_23*64 + j_25] + tile_7[i_23*64 + j_25]
                  }
                }
              }
              if k_block_3 + 1 < t6 {
                unroll for i_24 in 0..2 {
                  vector<16 unrolled 64> for j_26 in 0..64 {
                    earlier[i_24*64 + j_26] = tile_7[i_24*64 + j_26]
                  }
                }
              }
            }
            if t7 {
              unroll for i_25 in 0..2 {
                let t34 = (t30 + i_25)*64 + strip*64
                vector<16 unrolled 64> for j_27 in 0..64 {
                  tile_7[i_25*64 + j_27] = kept[t34 + j_27] + tile_7[i_25*64 + j_27]
                }
              }
            }
            if t8 {
              unroll for i_26 in 0..2 {
                let t35 = (t30 + i_26)*64 + strip*64
                vector<16 unrolled 64> for j_28 in 0..64 {
                  kept[t35 + j_28] = tile_7[i_26*64 + j_28]
                }
              }
            } else {
              unroll for i_27 in 0..2 {
                let t36 = t30 + i_27
                let t37 = t36*b.shape[1]
                if t36 <= (a.shape[0] - 1) {
                  vector<16 unrolled 64> for j_29 in 0..(b.shape[1] - 64*floor_div(b.shape[1], 64))
                          {
                    dot2[t23 + j_29 + t37] = tile_7[i_27*64 + j_29]
                  }
                }
              }
            }
          }
        }
        for strip_1 in 0..(floor_div(b.shape[1], 64) - floor_div(b.shape[1] -
                31*floor_div(b.shape[1], 64), 33) + min(-3*floor_div(b.shape[1], 64) +
                floor_div(b.shape[1] - 13*floor_div(b.shape[1], 64), 17), 1)) {
          let t38 = task*64 + strip_1*32
          for tile_8 in 0..floor_div(a.shape[0], 6) {
            registers tile_9: f32[192]
            for k_block_4 in 0..t6 {
              unroll for i_28 in 0..6 {
                vector<16 unrolled 32> for j_30 in 0..32 {
                  tile_9[i_28*32 + j_30] = 0.0
                }
              }
              for k_7 in 0..min(t3 - k_block_4*1024, 1024) {
                let t39 = run*1024 + (k_block_4*1024 + k_7)
                let t40 = (k_block_4*1024 + k_7)*64
                unroll for i_29 in 0..6 {
                  let t41 = a[t39 + (tile_8*6 + i_29)*a.shape[1]]
                  vector<16 unrolled 32> for j_31 in 0..32 {
                    tile_9[i_29*32 + j_31] = fma(t41, panel[t40 + (strip_1*32 + j_31)],
                            tile_9[i_29*32 + j_31])
                  }
                }
              }
              if 0 < k_block_4 {
                unroll for i_30 in 0..6 {
                  vector<16 unrolled 32> for j_32 in 0..32 {
                    tile_9[i_30*32 + j_32] = earlier[i_30*32 + j_32] + tile_9[i_30*32 + j_32]
                  }
                }
              }
              if k_block_4 + 1 < t6 {
                unroll for i_31 in 0..6 {
                  vector<16 unrolled 32> for j_33 in 0..32 {
                    earlier[i_31*32 + j_33] = tile_9[i_31*32 + j_33]
                  }
                }
              }
            }
            if t7 {
              unroll for i_32 in 0..6 {
                let t42 = (tile_8*6 + i_32)*64 + strip_1*32
                vector<16 unrolled 32> for j_34 in 0..32 {
                  tile_9[i_32*32 + j_34] = kept[t42 + j_34] + tile_9[i_32*32 + j_34]
                }
              }
            }
            if t8 {
              unroll for i_33 in 0..6 {
                let t43 = (tile_8*6 + i_33)*64 + strip_1*32
                vector<16 unrolled 32> for j_35 in 0..32 {
                  kept[t43 + j_35] = tile_9[i_33*32 + j_35]
                }
              }
            } else {
              unroll for i_34 in 0..6 {
                let t44 = (tile_8*6 + i_34)*b.shape[1]
                vector<16 unrolled 32> for j_36 in 0..(b.shape[1] - 64*floor_div(b.shape[1], 64)) {
                  dot2[t38 + j_36 + t44] = tile_9[i_34*32 + j_36]
                }
              }
            }
          }
          for tile_10 in 0..t1 {
            registers tile_11: f32[64]
            let t45 = floor_div(a.shape[0], 6)*6 + tile_10*2
            for k_block_5 in 0..t6 {
              unroll for i_35 in 0..2 {
                vector<16 unrolled 32> for j_37 in 0..32 {
                  tile_11[i_35*32 + j_37] = 0.0
                }
              }
              for k_8 in 0..min(t3 - k_block_5*1024, 1024) {
                let t46 = run*1024 + (k_block_5*1024 + k_8)
                let t47 = (k_block_5*1024 + k_8)*64
                unroll for i_36 in 0..2 {
                  let t48 = a[t46 + min(t45 + i_36, a.shape[0] - 1)*a.shape[1]]
                  vector<16 unrolled 32> for j_38 in 0..32 {
                    tile_11[i_36*32 + j_38] = fma(t48, panel[t47 + (strip_1*32 + j_38)],
                            tile_11[i_36*32 + j_38])
                  }
                }
              }
              if 0 < k_block_5 {
                unroll for i_37 in 0..2 {
                  vector<16 unrolled 32> for j_39 in 0..32 {
                    tile_11[i_37*32 + j_39] = earlier[i_37*32 + j_39] + tile_11[i_37*32 + j_39]
                  }
                }
              }
              if k_block_5 + 1 < t6 {
                unroll for i_38 in 0..2 {
                  vector<16 unrolled 32> for j_40 in 0..32 {
                    earlier[i_38*32 + j_40] = tile_11[i_38*32 + j_40]
                  }
                }
              }
            }
            if t7 {
              unroll for i_39 in 0..2 {
                let t49 = (t45 + i_39)*64 + strip_1*32
                vector<16 unrolled 32> for j_41 in 0..32 {
                  tile_11[i_39*32 + j_41] = kept[t49 + j_41] + tile_11[i_39*32 + j_41]
                }
              }
            }
            if t8 {
              unroll for i_40 in 0..2 {
                let t50 = (t45 + i_40)*64 + strip_1*32
                vector<16 unrolled 32> for j_42 in 0..32 {
                  kept[t50 + j_42] = tile_11[i_40*32 + j_42]
                }
              }
            } else {
              unroll for i_41 in 0..2 {
                let t51 = t45 + i_41
                let t52 = t51*b.shape[1]
                if t51 <= (a.shape[0] - 1) {
                  vector<16 unrolled 32> for j_43 in 0..(b.shape[1] - 64*floor_div(b.shape[1], 64))
                          {
                    dot2[t38 + j_43 + t52] = tile_11[i_41*32 + j_43]
                  }
                }
              }
            }
          }
        }
        for strip_2 in 0..(-min(-3*floor_div(b.shape[1], 64) + floor_div(b.shape[1] -
                13*floor_div(b.shape[1], 64), 17), 1) + min(b.shape[1] - 64*floor_div(b.shape[1],
                64), 1)) {
          let t53 = task*64 + strip_2*16
          for tile_12 in 0..floor_div(a.shape[0], 6) {
            registers tile_13: f32[96]
            for k_block_6 in 0..t6 {
              unroll for i_42 in 0..6 {
                vector<16 unrolled 16> for j_44 in 0..16 {
                  tile_13[i_42*16 + j_44] = 0.0
                }
              }
              for k_9 in 0..min(t3 - k_block_6*1024, 1024) {
                let t54 = run*1024 + (k_block_6*1024 + k_9)
                let t55 = (k_block_6*1024 + k_9)*64
                unroll for i_43 in 0..6 {
                  let t56 = a[t54 + (tile_12*6 + i_43)*a.shape[1]]
                  vector<16 unrolled 16> for j_45 in 0..16 {
                    tile_13[i_43*16 + j_45] = fma(t56, panel[t55 + (strip_2*16 + j_45)],
                            tile_13[i_43*16 + j_45])
                  }
                }
              }
              if 0 < k_block_6 {
                unroll for i_44 in 0..6 {
                  vector<16 unrolled 16> for j_46 in 0..16 {
                    tile_13[i_44*16 + j_46] = earlier[i_44*16 + j_46] + tile_13[i_44*16 + j_46]
                  }
                }
              }
              if k_block_6 + 1 < t6 {
                unroll for i_45 in 0..6 {
                  vector<16 unrolled 16> for j_47 in 0..16 {
                    earlier[i_45*16 + j_47] = tile_13[i_45*16 + j_47]
                  }
                }
              }
            }
            if t7 {
              unroll for i_46 in 0..6 {
                let t57 = (tile_12*6 + i_46)*64 + strip_2*16
                vector<16 unrolled 16> for j_48 in 0..16 {
                  tile_13[i_46*16 + j_48] = kept[t57 + j_48] + tile_13[i_46*16 + j_48]
                }
              }
            }
            if t8 {
              unroll for i_47 in 0..6 {
                let t58 = (tile_12*6 + i_47)*64 + strip_2*16
                vector<16 unrolled 16> for j_49 in 0..16 {
                  kept[t58 + j_49] = tile_13[i_47*16 + j_49]
                }
              }
            } else {
              unroll for i_48 in 0..6 {
                let t59 = (tile_12*6 + i_48)*b.shape[1]
                vector<16 unrolled 16> for j_50 in 0..(b.shape[1] - 64*floor_div(b.shape[1], 64)) {
                  dot2[t53 + j_50 + t59] = tile_13[i_48*16 + j_50]
                }
              }
            }
          }
          for tile_14 in 0..t1 {
            registers tile_15: f32[32]
            let t60 = floor_div(a.shape[0], 6)*6 + tile_14*2
            for k_block_7 in 0..t6 {
              unroll for i_49 in 0..2 {
                vector<16 unrolled 16> for j_51 in 0..16 {
                  tile_15[i_49*16 + j_51] = 0.0
                }
              }
              for k_10 in 0..min(t3 - k_block_7*1024, 1024) {
                let t61 = run*1024 + (k_block_7*1024 + k_10)
                let t62 = (k_block_7*1024 + k_10)*64
                unroll for i_50 in 0..2 {
                  let t63 = a[t61 + min(t60 + i_50, a.shape[0] - 1)*a.shape[1]]
                  vector<16 unrolled 16> for j_52 in 0..16 {
                    tile_15[i_50*16 + j_52] = fma(t63, panel[t62 + (strip_2*16 + j_52)],
                            tile_15[i_50*16 + j_52])
                  }
                }
              }
              if 0 < k_block_7 {
                unroll for i_51 in 0..2 {
                  vector<16 unrolled 16> for j_53 in 0..16 {
                    tile_15[i_51*16 + j_53] = earlier[i_51*16 + j_53] + tile_15[i_51*16 + j_53]
                  }
                }
              }
              if k_block_7 + 1 < t6 {
                unroll for i_52 in 0..2 {
                  vector<16 unrolled 16> for j_54 in 0..16 {
                    earlier[i_52*16 + j_54] = tile_15[i_52*16 + j_54]
                  }
                }
              }
            }
            if t7 {
              unroll for i_53 in 0..2 {
                let t64 = (t60 + i_53)*64 + strip_2*16
                vector<16 unrolled 16> for j_55 in 0..16 {
                  tile_15[i_53*16 + j_55] = kept[t64 + j_55] + tile_15[i_53*16 + j_55]
                }
              }
            }
            if t8 {
              unroll for i_54 in 0..2 {
                let t65 = (t60 + i_54)*64 + strip_2*16
                vector<16 unrolled 16> for j_56 in 0..16 {
                  kept[t65 + j_56] = tile_15[i_54*16 + j_56]
                }
              }
            } else {
              unroll for i_55 in 0..2 {
                let t66 = t60 + i_55
                let t67 = t66*b.shape[1]
                if t66 <= (a.shape[0] - 1) {
                  vector<16 unrolled 16> for j_57 in 0..(b.shape[1] - 64*floor_div(b.shape[1], 64))
                          {
                    dot2[t53 + j_57 + t67] = tile_15[i_55*16 + j_57]
                  }
                }
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

TEST_CASE("golden: a product whose second operand is read in place") {
  const Tensor a = tensor("a", {200, 300});
  const Tensor b = tensor("b", {300, 128});
  check_golden("in place", kernels({a, b}, {dot(a, b)}), R"golden(
program golden  arena 0 bytes
# line 1
kernel k0_dot(in a: f32[60000], in b: f32[38400], out dot2: f32[25600]) work 15385600 {
  parallel for task in 0..16 {
    let t1 = (task - floor_div(task, 8)*8)*25
    for tile in 0..4 {
      registers tile_1: f32[384]
      unroll for i in 0..6 {
        vector<16 unrolled 64> for j in 0..64 {
          tile_1[i*64 + j] = 0.0
        }
      }
      let t2 = t1 + tile*6
      for k in 0..300 {
        unroll for i_1 in 0..6 {
          let t3 = a[k + (t2 + i_1)*300]
          vector<16 unrolled 64> for j_1 in 0..64 {
            tile_1[i_1*64 + j_1] = fma(t3, b[floor_div(task, 8)*64 + j_1 + k*128], tile_1[i_1*64 +
                    j_1])
          }
        }
      }
      unroll for i_2 in 0..6 {
        let t4 = (t2 + i_2)*128
        vector<16 unrolled 64> for j_2 in 0..64 {
          dot2[floor_div(task, 8)*64 + j_2 + t4] = tile_1[i_2*64 + j_2]
        }
      }
    }
    let t5 = t1 + 24
    for tile_2 in 0..1 {
      registers tile_3: f32[64]
      unroll for i_3 in 0..1 {
        vector<16 unrolled 64> for j_3 in 0..64 {
          tile_3[i_3*64 + j_3] = 0.0
        }
      }
      let t6 = t5 + tile_2
      for k_1 in 0..300 {
        unroll for i_4 in 0..1 {
          let t7 = a[k_1 + (t6 + i_4)*300]
          vector<16 unrolled 64> for j_4 in 0..64 {
            tile_3[i_4*64 + j_4] = fma(t7, b[floor_div(task, 8)*64 + j_4 + k_1*128], tile_3[i_4*64 +
                    j_4])
          }
        }
      }
      unroll for i_5 in 0..1 {
        let t8 = (t6 + i_5)*128
        vector<16 unrolled 64> for j_5 in 0..64 {
          dot2[floor_div(task, 8)*64 + j_5 + t8] = tile_3[i_5*64 + j_5]
        }
      }
    }
  }
}
)golden");
}

TEST_CASE("golden: a product whose second operand is large and packed") {
  const Tensor a = tensor("a", {120, 1200});
  const Tensor b = tensor("b", {1200, 2048});
  check_golden("second packed", kernels({a, b}, {dot(a, b)}), R"golden(
program golden  arena 295424*workers bytes
# line 1
kernel k0_dot(in a: f32[144000], in b: f32[2457600], out dot2: f32[245760], worker panel:
        f32[65536], worker earlier: f32[384], worker kept: f32[7936]) work 590069760 {
  parallel for task in 0..32 {
    for run in 0..2 {
      let t1 = min(1200 - run*1024, 1024)
      for k in 0..t1 {
        let t2 = (run*1024 + k)*2048
        vector<16 unrolled 64> for j in 0..64 {
          panel[k*64 + j] = b[task*64 + j + t2]
        }
      }
      let t3 = max(floor_div(t1 + 1023, 1024), 1)
      let t4 = 0 < run
      let t5 = run + 1 < 2
      for tile in 0..20 {
        registers tile_1: f32[384]
        for k_block in 0..t3 {
          unroll for i in 0..6 {
            vector<16 unrolled 64> for j_1 in 0..64 {
              tile_1[i*64 + j_1] = 0.0
            }
          }
          for k_1 in 0..min(t1 - k_block*1024, 1024) {
            let t6 = run*1024 + (k_block*1024 + k_1)
            let t7 = (k_block*1024 + k_1)*64
            unroll for i_1 in 0..6 {
              let t8 = a[t6 + (tile*6 + i_1)*1200]
              vector<16 unrolled 64> for j_2 in 0..64 {
                tile_1[i_1*64 + j_2] = fma(t8, panel[t7 + j_2], tile_1[i_1*64 + j_2])
              }
            }
          }
          if 0 < k_block {
            unroll for i_2 in 0..6 {
              vector<16 unrolled 64> for j_3 in 0..64 {
                tile_1[i_2*64 + j_3] = earlier[i_2*64 + j_3] + tile_1[i_2*64 + j_3]
              }
            }
          }
          if k_block + 1 < t3 {
            unroll for i_3 in 0..6 {
              vector<16 unrolled 64> for j_4 in 0..64 {
                earlier[i_3*64 + j_4] = tile_1[i_3*64 + j_4]
              }
            }
          }
        }
        if t4 {
          unroll for i_4 in 0..6 {
            let t9 = (tile*6 + i_4)*64
            vector<16 unrolled 64> for j_5 in 0..64 {
              tile_1[i_4*64 + j_5] = kept[t9 + j_5] + tile_1[i_4*64 + j_5]
            }
          }
        }
        if t5 {
          unroll for i_5 in 0..6 {
            let t10 = (tile*6 + i_5)*64
            vector<16 unrolled 64> for j_6 in 0..64 {
              kept[t10 + j_6] = tile_1[i_5*64 + j_6]
            }
          }
        } else {
          unroll for i_6 in 0..6 {
            let t11 = (tile*6 + i_6)*2048
            vector<16 unrolled 64> for j_7 in 0..64 {
              dot2[task*64 + j_7 + t11] = tile_1[i_6*64 + j_7]
            }
          }
        }
      }
    }
  }
}
)golden");
}

TEST_CASE("golden: a product whose first operand is transposed, large and packed") {
  const Tensor a = tensor("a", {4000, 960});
  const Tensor b = tensor("b", {4000, 64});
  check_golden("first packed", kernels({a, b}, {dot(transpose(a), b)}), R"golden(
program golden  arena 223744*workers bytes
# line 1
kernel k0_dot(in a: f32[3840000], in b: f32[256000], out dot2: f32[61440], worker block: f32[49152],
        worker earlier: f32[384], worker kept: f32[6400]) work 491581440 {
  parallel for task in 0..10 {
    for run in 0..4 {
      let t1 = min(4000 - run*1024, 1024)
      let t2 = max(floor_div(t1 + 1023, 1024), 1)
      let t3 = 0 < run
      let t4 = run + 1 < 4
      for block_1 in 0..2 {
        let t5 = task*96 + block_1*48
        for k in 0..t1 {
          let t6 = (run*1024 + k)*960
          vector<16 unrolled 48> for i in 0..48 {
            block[k*48 + i] = a[t5 + i + t6]
          }
        }
        for tile in 0..8 {
          registers tile_1: f32[384]
          let t7 = t5 + tile*6
          for k_block in 0..t2 {
            unroll for i_1 in 0..6 {
              vector<16 unrolled 64> for j in 0..64 {
                tile_1[i_1*64 + j] = 0.0
              }
            }
            for k_1 in 0..min(t1 - k_block*1024, 1024) {
              let t8 = (k_block*1024 + k_1)*48
              let t9 = (run*1024 + (k_block*1024 + k_1))*64
              unroll for i_2 in 0..6 {
                let t10 = block[t8 + (t7 + i_2 - t5)]
                vector<16 unrolled 64> for j_1 in 0..64 {
                  tile_1[i_2*64 + j_1] = fma(t10, b[j_1 + t9], tile_1[i_2*64 + j_1])
                }
              }
            }
            if 0 < k_block {
              unroll for i_3 in 0..6 {
                vector<16 unrolled 64> for j_2 in 0..64 {
                  tile_1[i_3*64 + j_2] = earlier[i_3*64 + j_2] + tile_1[i_3*64 + j_2]
                }
              }
            }
            if k_block + 1 < t2 {
              unroll for i_4 in 0..6 {
                vector<16 unrolled 64> for j_3 in 0..64 {
                  earlier[i_4*64 + j_3] = tile_1[i_4*64 + j_3]
                }
              }
            }
          }
          if t3 {
            unroll for i_5 in 0..6 {
              let t11 = (t7 + i_5 + (0 - task*96))*64
              vector<16 unrolled 64> for j_4 in 0..64 {
                tile_1[i_5*64 + j_4] = kept[t11 + j_4] + tile_1[i_5*64 + j_4]
              }
            }
          }
          if t4 {
            unroll for i_6 in 0..6 {
              let t12 = (t7 + i_6 + (0 - task*96))*64
              vector<16 unrolled 64> for j_5 in 0..64 {
                kept[t12 + j_5] = tile_1[i_6*64 + j_5]
              }
            }
          } else {
            unroll for i_7 in 0..6 {
              let t13 = (t7 + i_7)*64
              vector<16 unrolled 64> for j_6 in 0..64 {
                dot2[j_6 + t13] = tile_1[i_7*64 + j_6]
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

TEST_CASE("golden: a product with its first operand transposed") {
  const Tensor a = tensor("a", {100, 64});
  const Tensor b = tensor("b", {100, 32});
  check_golden("first transposed", kernels({a, b}, {dot(transpose(a), b)}), R"golden(
program golden  arena 0 bytes
# line 1
kernel k0_dot(in a: f32[6400], in b: f32[3200], out dot2: f32[2048]) work 411648 {
  parallel for task in 0..2 {
    for tile in 0..4 {
      registers tile_1: f32[256]
      unroll for i in 0..8 {
        vector<16 unrolled 32> for j in 0..32 {
          tile_1[i*32 + j] = 0.0
        }
      }
      let t1 = task*32 + tile*8
      for k in 0..100 {
        unroll for i_1 in 0..8 {
          let t2 = a[t1 + i_1 + k*64]
          vector<16 unrolled 32> for j_1 in 0..32 {
            tile_1[i_1*32 + j_1] = fma(t2, b[j_1 + k*32], tile_1[i_1*32 + j_1])
          }
        }
      }
      unroll for i_2 in 0..8 {
        let t3 = (t1 + i_2)*32
        vector<16 unrolled 32> for j_2 in 0..32 {
          dot2[j_2 + t3] = tile_1[i_2*32 + j_2]
        }
      }
    }
  }
}
)golden");
}

TEST_CASE("golden: a product with its second operand transposed") {
  const Tensor a = tensor("a", {64, 100});
  const Tensor b = tensor("b", {32, 100});
  check_golden("second transposed", kernels({a, b}, {dot(a, transpose(b))}), R"golden(
program golden  arena 12800*workers bytes
# line 1
kernel k0_dot(in a: f32[6400], in b: f32[3200], out dot2: f32[2048], worker panel: f32[3200]) work
        411648 {
  parallel for task in 0..1 {
    for square in 0..6 {
      for strip in 0..2 {
        vector<16 unrolled 16> for k in 0..16 {
          let t1 = (square*16 + k)*32
          unroll for j in 0..16 {
            panel[t1 + (strip*16 + j)] = b[square*16 + k + (strip*16 + j)*100]
          }
        }
      }
    }
    for j in 0..32 {
      for k in 0..4 {
        panel[(k + 96)*32 + j] = b[k + 96 + j*100]
      }
    }
    for tile in 0..8 {
      registers tile_1: f32[256]
      unroll for i in 0..8 {
        vector<16 unrolled 32> for j_1 in 0..32 {
          tile_1[i*32 + j_1] = 0.0
        }
      }
      let t2 = task*64 + tile*8
      for k_1 in 0..100 {
        unroll for i_1 in 0..8 {
          let t3 = a[k_1 + (t2 + i_1)*100]
          vector<16 unrolled 32> for j_2 in 0..32 {
            tile_1[i_1*32 + j_2] = fma(t3, panel[k_1*32 + j_2], tile_1[i_1*32 + j_2])
          }
        }
      }
      unroll for i_2 in 0..8 {
        let t4 = (t2 + i_2)*32
        vector<16 unrolled 32> for j_3 in 0..32 {
          dot2[j_3 + t4] = tile_1[i_2*32 + j_3]
        }
      }
    }
  }
}
)golden");
}

TEST_CASE("golden: products of a batch of matrices") {
  const Tensor a = tensor("a", {dim("n"), 16, 24});
  const Tensor b = tensor("b", {dim("n"), 24, 32});
  check_golden("batch", kernels({a, b}, {matmul(a, b)}), R"golden(
program golden  arena 0 bytes
# line 1
kernel k0_dot(in a: f32[384*n], in b: f32[768*n], out dot2: f32[512*n]) work (25088*n) {
  parallel for i in 0..n {
    for task in 0..1 {
      for tile in 0..2 {
        registers tile_1: f32[256]
        unroll for i_1 in 0..8 {
          vector<16 unrolled 32> for j in 0..32 {
            tile_1[i_1*32 + j] = 0.0
          }
        }
        let t1 = task*16 + tile*8
        for k in 0..24 {
          unroll for i_2 in 0..8 {
            let t2 = a[k + (t1 + i_2)*24 + i*384]
            vector<16 unrolled 32> for j_1 in 0..32 {
              tile_1[i_2*32 + j_1] = fma(t2, b[j_1 + k*32 + i*768], tile_1[i_2*32 + j_1])
            }
          }
        }
        unroll for i_3 in 0..8 {
          let t3 = (t1 + i_3)*32
          vector<16 unrolled 32> for j_2 in 0..32 {
            dot2[j_2 + t3 + i*512] = tile_1[i_3*32 + j_2]
          }
        }
      }
    }
  }
}
)golden");
}

TEST_CASE("golden: a product of a matrix and a vector") {
  const Tensor a = tensor("a", {300, 200});
  const Tensor v = tensor("v", {200});
  check_golden("matrix and vector", kernels({a, v}, {dot(a, v)}), R"golden(
program golden  arena 0 bytes
# line 1
kernel k0_mul_sum(in a: f32[60000], in v: f32[200], out sum4: f32[300]) work 180000 {
  parallel for i_block in 0..5 {
    stack accs: f32[64]
    let t1 = min(300 - i_block*64, 64)
    vector<16 x2> for i in 0..t1 {
      accs[i] = 0.0
    }
    let t2 = floor_div(t1, 4)
    for i_1 in 0..t2 {
      var acc: f32 = accs[i_1*4]
      var acc_1: f32 = accs[i_1*4 + 1]
      var acc_2: f32 = accs[i_1*4 + 2]
      var acc_3: f32 = accs[i_1*4 + 3]
      let t3 = (i_block*64 + i_1*4)*200
      let t4 = (i_block*64 + (i_1*4 + 1))*200
      let t5 = (i_block*64 + (i_1*4 + 2))*200
      let t6 = (i_block*64 + (i_1*4 + 3))*200
      vector<16 x2> for j in 0..200 {
        let t7 = v[j]
        acc += a[j + t3] * t7
        acc_1 += a[j + t4] * t7
        acc_2 += a[j + t5] * t7
        acc_3 += a[j + t6] * t7
      }
      accs[i_1*4] = acc
      accs[i_1*4 + 1] = acc_1
      accs[i_1*4 + 2] = acc_2
      accs[i_1*4 + 3] = acc_3
    }
    let t8 = t2*4
    for i_2 in 0..(t1 - t8) {
      let t9 = t8 + i_2
      var acc_4: f32 = accs[t9]
      let t10 = (i_block*64 + t9)*200
      vector<16 x2> for j in 0..200 {
        acc_4 += a[j + t10] * v[j]
      }
      accs[t9] = acc_4
    }
    vector<16 x2> for i_3 in 0..t1 {
      sum4[i_block*64 + i_3] = accs[i_3]
    }
  }
}
)golden");
}

TEST_CASE("golden: an update adds a product to its variable in place") {
  const Shared w = shared(Array::zeros({64, 32}), "w");
  const Tensor x = tensor("x", {dim("n"), 64});
  const Tensor g = tensor("g", {dim("n"), 32});
  const std::vector<std::pair<Shared, Tensor>> updates = {{w, w - 0.1 * dot(transpose(x), g)}};
  check_golden("update in place", kernels({x, g}, {}, updates), R"golden(
program golden  arena 6144*workers bytes
# line 1
kernel k0_dot_mul_sub(in x: f32[64*n], in g: f32[32*n], out w: f32[2048], worker earlier: f32[384],
        worker kept: f32[1152]) work (4096*n + 6144) {
  parallel for task in 0..2 {
    for run in 0..(max(floor_div(n + 2047, 2048), 1)) {
      let t1 = min(n - run*2048, 2048)
      let t2 = max(floor_div(t1 + 1023, 1024), 1)
      let t3 = 0 < run
      let t4 = run + 1 < (max(floor_div(n + 2047, 2048), 1))
      for tile in 0..4 {
        registers tile_1: f32[256]
        let t5 = task*32 + tile*8
        for k_block in 0..t2 {
          unroll for i in 0..8 {
            vector<16 unrolled 32> for j in 0..32 {
              tile_1[i*32 + j] = 0.0
            }
          }
          for k in 0..min(t1 - k_block*1024, 1024) {
            let t6 = run*2048 + (k_block*1024 + k)
            let t7 = t6*64
            let t8 = t6*32
            unroll for i_1 in 0..8 {
              let t9 = x[t5 + i_1 + t7]
              vector<16 unrolled 32> for j_1 in 0..32 {
                tile_1[i_1*32 + j_1] = fma(t9, g[j_1 + t8], tile_1[i_1*32 + j_1])
              }
            }
          }
          if 0 < k_block {
            unroll for i_2 in 0..8 {
              vector<16 unrolled 32> for j_2 in 0..32 {
                tile_1[i_2*32 + j_2] = earlier[i_2*32 + j_2] + tile_1[i_2*32 + j_2]
              }
            }
          }
          if k_block + 1 < t2 {
            unroll for i_3 in 0..8 {
              vector<16 unrolled 32> for j_3 in 0..32 {
                earlier[i_3*32 + j_3] = tile_1[i_3*32 + j_3]
              }
            }
          }
        }
        if t3 {
          unroll for i_4 in 0..8 {
            let t10 = (t5 + i_4 + (0 - task*32))*32
            vector<16 unrolled 32> for j_4 in 0..32 {
              tile_1[i_4*32 + j_4] = kept[t10 + j_4] + tile_1[i_4*32 + j_4]
            }
          }
        }
        if t4 {
          unroll for i_5 in 0..8 {
            let t11 = (t5 + i_5 + (0 - task*32))*32
            vector<16 unrolled 32> for j_5 in 0..32 {
              kept[t11 + j_5] = tile_1[i_5*32 + j_5]
            }
          }
        } else {
          unroll for i_6 in 0..8 {
            let t12 = (t5 + i_6)*32
            vector<16 unrolled 32> for j_6 in 0..32 {
              let t13 = j_6 + t12
              w[t13] = w[t13] - 0.1 * tile_1[i_6*32 + j_6]
            }
          }
        }
      }
    }
  }
}
)golden");
}
