// This project as a contender; see bench.h for the commands, ours.h for the cases.
#include <stdexcept>

#include "floor.h"
#include "ours.h"

int main() {
  return bench::serve([](const bench::Parts& parts) {
    const std::string& name = parts.at(0);
    if (name == "floor") return bench::floor_case(parts);
    if (name == "gemm") return bench::gemm_case(parts);
    if (name == "mlp") return bench::mlp_case(parts);
    if (name == "call") return bench::call_case(parts);
    if (name == "elementwise") return bench::elementwise_case(parts);
    if (name == "softmax" || name == "layernorm" || name == "sum") return bench::rows_case(parts);
    if (name == "scan") return bench::scan_case(parts);
    if (name == "lstm") return bench::lstm_case(parts);
    if (name == "compile") return bench::compile_case(parts);
    if (name == "memory") return bench::memory_case(parts);
    if (name == "classes") return bench::class_case(parts);
    if (name == "conv") return bench::conv_case(parts);
    if (name == "cnn" || name == "vgg" || name == "resnet") return bench::network_case(parts);
    if (name == "published") return bench::published_case(parts);
    if (name == "train") return bench::train_case(parts);
    throw std::runtime_error("not measured: " + name);
  });
}
