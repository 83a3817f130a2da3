// The rules of functions with derivatives of the user's own, for many rows at once.
#include "compiler/ops/custom.h"

#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "compiler/scan/batch.h"
#include "compiler/scan/scan.h"

namespace kroton {
namespace {

using Mapped = std::unordered_map<const Node*, Tensor>;

// The results for all rows: vectorised, or row by row in a loop where an op has no rule.
std::vector<Tensor> for_all_rows(const std::vector<Tensor>& results, const Mapped& rows,
                                 const Dim& count) {
  const BatchedAll all = batch_all(results, rows, count);
  std::vector<Tensor> values;
  if (!all.refused) {
    for (const Batched& one : all.values) {
      values.push_back(one.mapped ? one.value
                                  : ops::with_rows({&one.value, 1}, {false}, count).front());
    }
    return values;
  }
  ScanDefinition loop;
  loop.count = count;
  loop.line = all.refused.line();
  for (const Tensor& tensor : topological_order(results)) {
    const auto found = rows.find(&tensor.node());
    if (found != rows.end()) loop.rows.push_back({tensor, found->second});
  }
  std::vector<ScanResult> wanted;
  for (const Tensor& result : results) wanted.push_back({result, Collect::stack});
  return make_scan(loop, wanted);
}

}  // namespace

Tensor batch_custom(std::span<const Tensor> operands, const std::vector<bool>& mapped,
                    const Attributes& attributes, const Dim& count) {
  const CustomView view(attributes);
  // What has cotangents and tangents of its own has rows of its own.
  const std::size_t own = view.inputs + 1;
  const std::vector<bool> has_rows(mapped.begin(),
                                   mapped.begin() + static_cast<std::ptrdiff_t>(own));
  std::vector<Tensor> now = ops::with_rows(operands.first(own), has_rows, count);
  now.insert(now.end(), operands.begin() + static_cast<std::ptrdiff_t>(own), operands.end());
  Body body;
  Mapped rows;
  for (std::size_t k = 0; k < attributes.body->parameters.size(); ++k) {
    const Tensor& old = attributes.body->parameters[k];
    if (k >= view.rest() && !mapped[own + k - view.rest()]) {
      body.parameters.push_back(old);
      continue;
    }
    body.parameters.push_back(
        make_input(old.name(), {old.dtype(), ops::with_rows(count, old.shape())}, old.line()));
    rows.emplace(&old.node(), body.parameters.back());
  }
  body.results = for_all_rows(attributes.body->results, rows, count);
  return ops::apply(
      custom_op, std::move(now),
      CustomView::attributes(attributes.name, view.inputs, view.has_forward, std::move(body)));
}

}  // namespace kroton
