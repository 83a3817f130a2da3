// Predicted times of the canonical functions, and what a call of a training step asks of the
// device.
#include <doctest/doctest.h>

#include <iomanip>
#include <set>
#include <sstream>

#include "compiler/codegen/cuda/run_program.h"
#include "tests/gpu_emulator/emulated_device.h"
#include "tests/gpu_model/times.h"
#include "tests/tools/golden.h"

using namespace gpu_model;  // NOLINT: tests
using kroton::codegen::known_gpus;
namespace kt = kroton;

TEST_CASE("golden: predicted times of canonical functions") {
  // Above three times the bound of an H100.
  const std::set<std::string> known = {
      "scatter_add of numbers",  // four launches, one of which looks at all numbers
      "update of an embedding",  // two digits
      "MLP step 784-512-10",     // launches, as the LSTMs
      "LSTM step, 256 units",
      "LSTM step, 64 units",  // steps that wait for each other, as the next ones
      "gradient of a running sum by scan",
      "Kalman filter of 4 numbers",
      // What goes through memory between kernels, which no bound counts.
      "CIFAR-10 step, Adam",
      "transformer step, bf16, Adam",
  };
  std::ostringstream text;
  text << std::left << std::setw(52) << "us, not measured" << std::right << std::setw(7)
       << "starts";
  for (const Gpu& gpu : known_gpus()) text << std::setw(9) << gpu.name;
  text << "    bound\n";
  for (const Case& one : cases()) {
    const kt::Program program = lowered(one), without_units = lowered(one, 75);
    double worst = 1;
    for (const Sizes& sizes : one.sizes) {
      std::vector<Times> on;  // each device
      for (const Gpu& gpu : known_gpus()) {
        on.push_back(predicted(gpu.matrix > 0 ? program : without_units, sizes, gpu, one.moved));
        CHECK_MESSAGE(on.back().microseconds >= 0.999 * on.back().bound, one.name, " on ",
                      gpu.name);
      }
      const Times& h100 = on[2];
      text << std::left << std::setw(52) << one.name + ", " + to_string(sizes) << std::right
           << std::fixed << std::setprecision(1);
      text << std::setw(7) << h100.launches;
      for (const Times& times : on) text << std::setw(9) << times.microseconds;
      text << std::setw(9) << h100.bound << "\n";
      worst = std::max(worst, h100.microseconds / h100.bound);
    }
    CHECK_MESSAGE((worst <= 3) != known.contains(one.name), one.name, " takes ", worst,
                  " times its bound");
  }
  check_golden("times", text.str(), R"golden(
us, not measured                                     starts       T4     A100     H100     4090   
        bound
elementwise, free, n=10000000                             1    447.8     88.3     42.4    132.6    
        42.4
tanh of 1e7, known                                        1    299.7     59.7     29.1     89.2    
        29.1
exp, f64, n=1000000                                       1    253.4     14.0      7.7     47.8     
        7.7
bias, free, m=1024 n=8192                                 1    251.9     50.5     24.8     75.1    
        24.8
transpose of 4096x4096, known                             1    500.5     98.5     47.1    148.1    
        47.1
x + transpose(y), free, m=4096 n=4096                     1    749.0    146.4     69.5    221.0    
        69.5
concatenate, n=1000000                                    1     62.6     14.0      7.7     19.6     
        7.7
softmax of 1000x1000, known                               1     33.0      8.3      5.1     10.9     
        5.1
softmax of 8x1e6, known                                   3    367.3     77.9     40.9    112.3    
        23.7
softmax, free, m=1000 n=1000                              1     33.0      8.3      5.1     10.9     
        5.1
softmax, free, m=1000000 n=8                              3    365.9     76.6     39.4    111.1    
        23.7
softmax, free, m=40 n=1000000                             1   1188.5    231.2    109.1    350.0   
        109.1
log_softmax of 8192x128, known                            1     34.4      8.6      5.2     11.3     
        5.2
sum of rows, free, m=1000 n=1000                          1     18.2      5.5      3.7      6.6     
        3.7
sum of rows, free, m=1000000 n=8                          2    125.3     28.1     15.5     39.2    
        13.1
softmax of 1e6x24, known                                  1    714.5    139.7     66.4    210.9    
        66.4
softmax of 1e6x32, known                                  1    951.5    185.5     87.7    280.5    
        87.7
layer norm of 1e6x48, known                               1   1425.6    276.9    130.4    419.6   
        130.4
softmax of 1e6x10, known                                  1    299.7     59.7     29.1     89.2    
        29.1
argmax of rows, free, m=1000 n=1000                       1     18.2      5.5      3.7      6.6     
        3.7
argmax of rows, free, m=1000000 n=8                       2    125.3     28.1     15.6     39.3    
        13.1
mean of rows, f64, m=1000 n=1000                          1     39.1      8.3      5.1     10.9     
        5.1
layer norm, n=8192                                        1    251.9     50.5     24.8     75.2    
        24.8
layer norm, gradients, n=8192                             3    633.0    127.9     63.3    189.4    
        36.0
sum of all, free, n=10000000                              2    155.1     34.0     18.4     48.1    
        15.7
sum of all, free, n=1000                                  1      3.8      3.0      2.8      2.5     
        2.4
argmax of all, free, n=10000000                           2    155.6     34.4     18.8     48.4    
        15.7
softmax of all, free, n=10000000                          5    758.0    160.5     79.1    228.8    
        29.1
sum of columns of 1e6x8, known                            2    125.7     28.5     15.9     39.6    
        13.1
sum of columns, free, m=8 n=1000000                       2    126.2     28.9     19.1     39.9    
        13.1
sum of columns, free, m=1024 n=8192                       2    131.5     29.3     16.1     41.0    
        13.6
sum of 512 columns, n=128                                 1      4.3      3.0      2.9      2.6     
        2.5
sum of 512 columns, n=65536                               2    504.3    101.2     49.7    150.5    
        47.1
softmax of columns, free, m=64 n=100000                   3    297.5     65.2     35.6     92.3    
        19.5
sum of channels, n=32                                     2    101.9     23.6     13.4     32.4    
        11.0
softmax of columns of 4096x4096, known                    1    500.5     98.5     47.1    148.1    
        47.1
argmax of columns of 4096x4096, known                     2    257.5     54.7     28.8     78.8    
        24.8
mean, variance and extremes of columns, known             1    252.2     50.6     24.8     75.2    
        24.8
log_softmax over 64 channels, n=32                        1    193.7     39.3     19.5     58.0    
        19.5
batch norm, n=8192                                        3    384.0     80.0     41.0    116.4    
        24.8
batch norm, gradients, n=8192                             3    633.6    128.3     63.7    189.7    
        36.0
batch norm of pictures, with gradients, n=32              4    680.3    139.6     70.3    204.9    
        36.7
mean cross entropy of 8192x1000, known                    2    128.9     29.1     16.2     40.5    
        13.3
relu of dot 4096x4096x4096, known                         1  38360.6  14108.2   4788.5   3498.3  
        2395.5
relu of dot 64x16384x64, known                            2     53.4     20.5     14.5     18.1     
        5.2
relu of dot 128x784x512, known                            2     43.2     17.3      9.9     10.9     
        4.2
relu of dot 1024x1024x1024, f64, known                    1  19196.0    443.7    152.1   3500.9    
        77.2
relu of dot 4096x512x10, known                            2     43.3     12.3      9.3     15.1     
        5.3
relu of dot + bias, free, k=4096 m=4096 n=4096            1  38365.3  14110.0   4789.1   3498.7  
        2395.7
relu of dot + bias, free, k=16384 m=64 n=64               2     53.4     20.5     14.7     18.1     
        5.2
relu of dot + bias, free, k=1000 m=1000 n=1000            1    562.2    208.1     72.1     53.1    
        37.3
relu of dot + bias, free, with the library, k=4096 m=4096 n=4096      2  26068.3   9501.8   3238.6  
        2479.8   2397.2
relu of dot + bias, free, with the library, k=16384 m=64 n=64      2     53.4     20.5     14.7    
        18.1      5.2
relu of dot + bias, free, with the library, k=1000 m=1000 n=1000      2    407.5    146.9     53.0  
          46.3     37.4
relu of dot of transposed, free, k=1000 m=1000 n=1000      1    562.0    208.0     72.1     53.1    
        37.2
exp of matmul of a batch, b=96                            1     65.2     25.4     10.1     15.9     
        6.6
dot of matrix and vector, known                           1    252.0     50.6     24.8     75.2    
        24.8
conv2d of 64x56x56, 3x3, n=32                             1   2071.3    763.1    260.4    190.7   
        131.4
conv2d, gradient of the image, n=32                       1   2073.1    763.7    260.7    190.8   
        131.5
conv2d, gradient of the filters, n=32                     4   2308.4    814.0    288.1    264.6   
        131.8
gather, free, columns=256 n=100000 rows=50000             1    575.2    112.9     53.9    170.0    
        53.9
scatter_add, free, columns=256 n=100000 rows=50000        7   1214.2    257.4    137.1    370.8    
        88.0
scatter_add of numbers, n=100000                          4     52.4     23.1     17.5     16.2     
        4.2
cumsum down rows, n=10000                                 1     81.4     18.8     10.9     25.9     
        9.2
MLP step 784-512-10, batch=128                           12    115.2     57.1     42.0     44.7     
        6.1
LSTM step, 256 units, batch=64 steps=100                 13   5745.7   2592.7    940.9   1051.8   
        300.9
LSTM step, 64 units, batch=1 steps=100                   12    238.1    227.7    186.6    139.1     
        9.2
running sum by scan, n=10000                              1      5.6      4.6      4.7      4.0     
        2.4
gradient of a running sum by scan, n=10000                4     18.6     15.0     14.8     12.8     
        2.4
1000 steps of oscillators, n=4096                         3    227.7    186.9    119.4     86.1    
        42.4
Kalman filter of 4 numbers, n=1000                        3    323.3    318.8    136.3     98.1    
        42.4
relu of dot 4096x4096x4096, bf16, known                   1  38755.6    884.7    301.7   1751.3   
        152.1
relu of dot 4096x4096x4096, bf16, with the library, known      2  38755.6    663.9    236.8   1278.2
           156.6
relu of dot 8x4096x4096, f16, known                       2    139.7     30.8     17.3     43.3    
        13.6
relu of dot 4096x4096x4096, TF32, known                   1  38360.6   1765.8    600.7   3498.3   
        301.5
relu of dot bf16, free, k=4096 m=4096 n=4096              1  38755.6    884.7    301.7   1751.3   
        152.1
relu of dot bf16, free, k=16384 m=64 n=64                 2     78.6     11.2      8.4     13.5     
        3.8
relu of dot bf16, free, k=1000 m=1000 n=1000              1    588.7     15.5      6.8     27.7     
        4.6
relu of dot of transposed + bias, bf16, k=4096            1   2499.6     57.8     21.1    111.6    
        11.8
conv2d of 256x56x56, 1x1, n=32                            1    922.7    340.7    117.1    141.9    
        59.8
conv2d of 3x224x224, 7x7, stride 2, n=32                  1   2125.1    782.9    267.1    195.6   
        134.8
conv2d of 128x56x56, 3x3, stride 2, n=32                  1   2069.5    762.4    260.2    190.5   
        131.3
conv2d of 128x56x56, 3x3, stride 2, by the image, n=32      5   2575.6    886.2    317.8    330.2   
        141.4
conv2d of 128x56x56, 3x3, stride 2, by the filters, n=32      4   2502.5    851.5    305.4    321.6 
          132.2
conv2d of 64x56x56, 3x3, dilation 2, n=32                 1   2071.3    763.1    260.4    190.7   
        131.4
conv2d of 128x28x28, 3x3, 4 groups, n=32                  2    619.8    214.0     78.0     79.5    
        34.8
conv2d of 96x56x56, 3x3, 96 groups, n=32                  1    288.8     57.7     28.1     86.0    
        28.1
conv2d of 96x56x56, 3x3, 96 groups, by the image, n=32      1    288.8     57.7     28.1     86.0   
         28.1
conv2d of 96x56x56, 3x3, 96 groups, by the filters, n=32      4    299.4     65.8     35.7     92.9 
           28.1
conv2d of 64 channels, 3x3, free, h=56 n=32 w=56          1   2071.3    763.1    260.4    190.7   
        131.4
conv2d of 64 channels, 3x3, free, by the image, h=56 n=32 w=56      1   2073.1    763.7    260.7   
        190.8    131.5
conv2d of 64 channels, 3x3, free, by the filters, h=56 n=32 w=56      4   2312.7    814.9    288.5  
         265.9    131.8
conv1d of 64x4096, 5, n=32                                1   1506.0    555.2    189.9    139.2    
        96.1
conv3d of 32x16x28x28, 3x3x3, n=32                        1   6203.7   2282.7    776.1    567.3   
        389.2
attention of 8x12x1024x64, f16, known                     1  10387.5    169.2     58.9    332.5    
        30.7
attention of 8x12x1024x64, f32, known                     1   7234.0   2661.6    904.6    661.2   
        453.5
causal attention of 8x12x1024x64, bf16, known             1  10387.5    169.4     59.0    332.8    
        30.7
attention of heads of 128, f16, free, b=4 h=16 n=2048      1  46851.7    887.5    302.7   1756.9   
        152.5
attention of heads of 128, f16, free, b=1 h=32 n=8192      1 372398.1   7060.8   2397.3  13997.3  
        1199.8
causal attention of heads of 64, f32, free, b=4 h=16 n=1000      1   4605.6   1695.1    576.7   
        421.7    289.5
attention of 8x12x1024x64, f16, gradients, known          4  29334.2    777.2    272.1   1520.9   
        129.6
cumsum of 1e6, known                                      1     34.6      9.8      6.7     12.2     
        5.1
cumsum of rows, free, m=100000 n=64                       1    194.6     40.6     21.1     59.1    
        19.5
linear recurrence of 100000x16, known                     1     77.1     18.0     10.5     24.7     
        8.8
update of an embedding, known                             6    127.5     45.5     36.4     51.1    
        11.6
argsort of 1e6, known                                     5    298.2     72.6     45.4     97.3    
        22.4
sort of 1000x1000, known                                  1     58.2     22.8      9.2     10.9     
        5.8
sort of 10000x100, known                                  1     71.9     27.8     11.0     10.9     
        6.7
sort of 100000x16, known                                  1     79.3     30.5     11.9     16.1     
        7.1
first 5 of 64x50000, known                                2    183.1     70.6     27.6     21.1    
        13.4
argsort of rows, free, m=8 n=100000                       1     38.9     10.0      5.6     12.6     
        5.6
argsort of rows, free, m=1000 n=1000                      1    113.1     42.9     16.1     15.2     
        9.2
attention step of 8x12x1024x64, f16, known                4  29341.2    777.4    272.2   1521.2   
        129.6
attention step of 8x12x1024x64, f32, known                4  32676.7  11989.3   4078.7   3023.9  
        2028.7
attention step of heads of 128, bf16, known               4  67872.5   2024.5    696.1   3991.2   
        340.3
attention of 12 heads that share 4 keys, f16, known       1  10515.2    169.2     58.9    332.5    
        30.7
CIFAR-10 step, Adam, batch=128                           37   2422.8    747.3    347.4    572.8    
        87.9
transformer step, bf16, Adam, batch=8 length=256         35  13359.5    481.8    229.6    739.1    
        63.7
)golden");
}

TEST_CASE("golden: what a call of a training step asks of the device") {
  std::ostringstream text;
  using kt::codegen::Transfers;
  // What arguments and results on the host take: small ones are copied together.
  struct Copies {
    std::int64_t bytes = 0, large = 0, small = 0;
    std::int64_t count() const { return large + (small > 0 ? 1 : 0); }
  };
  const auto copies = [](const std::vector<kt::TensorType>& types, const Sizes& sizes) {
    Copies result;
    for (const kt::TensorType& type : types) {
      const std::int64_t bytes = Evaluator(sizes)(kt::element_count(type.shape)) *
                                 static_cast<std::int64_t>(size_of(type.dtype));
      result.bytes += bytes;
      ++(bytes > Transfers::small_bytes ? result.large : result.small);
    }
    return result;
  };
  for (const Case& one : cases()) {
    if (!one.is_step) continue;
    const kt::Program program = lowered(one);
    for (const Sizes& sizes : one.sizes) {
      const Times times = predicted(program, sizes, known_gpus().front());
      const Copies up = copies(program.inputs, sizes);
      Copies down = copies(program.outputs, sizes);
      const bool checks = !program.sites.empty();
      if (checks) {
        down.bytes += static_cast<std::int64_t>(sizeof(kroton_error));
        ++down.small;
      }
      const std::int64_t waits = checks && down.large > 0 ? 2 : down.count() > 0 ? 1 : 0;
      const bool graph = kt::codegen::can_be_captured(program.steps) &&
                         times.launches <= kt::codegen::GraphCache::most_launches;
      text << one.name << ", " << to_string(sizes) << ": " << times.kernels << " kernels, "
           << times.launches << " launches, " << times.products << " of them products of a library"
           << (graph ? ", in one graph" : "") << "; " << up.bytes << " bytes up in " << up.count()
           << " copies, " << down.bytes << " down in " << down.count() << ", " << waits
           << " waits; with its data on the device " << (checks ? 1 : 0) << " copies and waits\n";
    }
  }
  check_golden("steps", text.str(), R"golden(
MLP step 784-512-10, batch=128: 12 kernels, 12 launches, 3 of them products of a library, in one
        graph; 402432 bytes up in 2 copies, 28 down in 1, 1 waits; with its data on the device 1
        copies and waits
LSTM step, 256 units, batch=64 steps=100: 16 kernels, 511 launches, 203 of them products of a
        library, in one graph; 6553600 bytes up in 1 copies, 4 down in 1, 1 waits; with its data on
        the device 0 copies and waits
LSTM step, 64 units, batch=1 steps=100: 12 kernels, 12 launches, 3 of them products of a library, in
        one graph; 25600 bytes up in 1 copies, 4 down in 1, 1 waits; with its data on the device 0
        copies and waits
running sum by scan, n=10000: 1 kernels, 1 launches, 0 of them products of a library, in one graph;
        40000 bytes up in 1 copies, 40000 down in 1, 1 waits; with its data on the device 0 copies
        and waits
gradient of a running sum by scan, n=10000: 4 kernels, 4 launches, 0 of them products of a library,
        in one graph; 40000 bytes up in 1 copies, 40000 down in 1, 1 waits; with its data on the
        device 0 copies and waits
1000 steps of oscillators, n=4096: 3 kernels, 3 launches, 0 of them products of a library, in one
        graph; 32768 bytes up in 2 copies, 32768 down in 2, 1 waits; with its data on the device 0
        copies and waits
Kalman filter of 4 numbers, n=1000: 3 kernels, 3 launches, 0 of them products of a library, in one
        graph; 4144 bytes up in 1 copies, 16000 down in 1, 1 waits; with its data on the device 0
        copies and waits
CIFAR-10 step, Adam, batch=128: 37 kernels, 37 launches, 2 of them products of a library, in one
        graph; 1573888 bytes up in 2 copies, 28 down in 1, 1 waits; with its data on the device 1
        copies and waits
transformer step, bf16, Adam, batch=8 length=256: 35 kernels, 35 launches, 8 of them products of a
        library, in one graph; 8388608 bytes up in 2 copies, 4 down in 1, 1 waits; with its data on
        the device 0 copies and waits
)golden");
}
