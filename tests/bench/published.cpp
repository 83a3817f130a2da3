// The four problems of by_hand.h, differentiated by the compiler.
#include <memory>

#include "ours.h"
#include "problems.h"

namespace kt = kroton;

namespace bench {

// published/NAME/value or derivative/SIZES
Case published_case(const Parts& parts) {
  std::vector<std::size_t> sizes;
  for (const std::string& size : split(parts.at(3), 'x')) sizes.push_back(std::stoul(size));
  Problem made =
      by_hand::with_problem(parts.at(1), sizes, [](const auto& of) { return problem(of); });
  const std::vector<kt::Tensor> outputs =
      parts.at(2) == "value" ? std::vector<kt::Tensor>{made.value} : made.derivatives;
  const auto f = kt::function(made.inputs, outputs, {.on_unused_input = kt::UnusedInput::ignore});
  const auto given = std::make_shared<std::vector<kt::Array>>(std::move(made.arguments));
  const auto call = [f, given] {
    const std::vector<kt::Argument> arguments(given->begin(), given->end());
    return f.call(arguments);
  };
  return {[call] { call(); },
          [call] {
            std::vector<double> all;
            for (const kt::Array& result : call()) {
              const auto part = result.data<double>();
              all.insert(all.end(), part.begin(), part.end());
            }
            return sample(all);
          }};
}

}  // namespace bench
