// A contender for published/...: values and derivatives written by hand.
#include <memory>

#include "bench.h"
#include "by_hand.h"

namespace {

using namespace bench;  // NOLINT: a contender

template <class Of>
Case case_of(Of of, bool derivative) {
  const auto problem = std::make_shared<const Of>(std::move(of));
  const auto results = std::make_shared<by_hand::Numbers>();
  const auto run = [problem, results, derivative] {
    if constexpr (requires { problem->value(); }) {
      if (derivative) {
        problem->gradient(*results);
      } else {
        *results = {problem->value()};
      }
    } else if (derivative) {
      problem->jacobian(*results);
    } else {
      problem->values(*results);
    }
  };
  return {run, [run, results] {
            run();
            return sample(*results);
          }};
}

Case made(const Parts& parts) {
  if (parts.at(0) != "published") throw std::runtime_error("not measured: " + parts[0]);
  std::vector<std::size_t> sizes;
  for (const std::string& size : split(parts.at(3), 'x')) sizes.push_back(std::stoul(size));
  const bool derivative = parts.at(2) == "derivative";
  return by_hand::with_problem(parts.at(1), sizes,
                               [&](auto of) { return case_of(std::move(of), derivative); });
}

}  // namespace

int main() { return bench::serve(made); }
