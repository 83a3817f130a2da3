// Every op's samples, compiled for this machine, against the reference interpreter.
#include <doctest/doctest.h>

#include <functional>

#include "tests/tools/quick_code.h"
#include "tests/tools/sample_tools.h"

using namespace compiled_test;  // NOLINT: tests
using kroton::OpRecord;

namespace {

void for_each_op(const std::function<void(const OpRecord&)>& body) {
  for (const OpRecord* op : kroton::all_ops()) {
    SUBCASE(std::string(op->name).c_str()) { body(*op); }
  }
}

void check_values(const OpRecord& op, bool free_sizes) {
  const std::vector<Trial> trials = value_trials(op, free_sizes);
  REQUIRE(!trials.empty());
  check_trials(trials);
}

}  // namespace

TEST_CASE("compiled samples of every op, sizes known") {
  for_each_op([](const OpRecord& op) { check_values(op, false); });
}

TEST_CASE("compiled samples of every op, sizes free") {
  const QuickCode quick;
  for_each_op([](const OpRecord& op) { check_values(op, true); });
}

TEST_CASE("compiled gradients of every op, sizes known") {
  for_each_op([](const OpRecord& op) { check_trials(gradient_trials(op, false)); });
}

TEST_CASE("compiled gradients of every op, sizes free") {
  const QuickCode quick;
  for_each_op([](const OpRecord& op) { check_trials(gradient_trials(op, true)); });
}
