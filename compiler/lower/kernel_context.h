// What lowering one cluster needs: the graph, the buffers, and values of vertices at indices.
#pragma once
#include <unordered_map>
#include <unordered_set>

#include "compiler/fusion/fusion.h"
#include "compiler/loop/schedule.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/lower.h"
#include "compiler/lower/program.h"

namespace kroton {

// The buffers of a Program while it is lowered, and its run-time checks.
struct StepPart;  // compiler/contraction/gpu_step_tiles.h

class BufferTable {
 public:
  explicit BufferTable(const Graph& graph) : graph_(graph), own_(), common_(own_) {}
  // Those of a loop's body, in the Program of `outer`, which must outlive them.
  BufferTable(const Graph& body, BufferTable& outer)
      : graph_(body), own_(), common_(outer.common_) {}
  BufferTable(const BufferTable&) = delete;
  BufferTable& operator=(const BufferTable&) = delete;
  // The buffer that holds a stored vertex; created on first use.
  const loop::BufferRef& of(Graph::Vertex v);
  // From now on that buffer holds the vertex.
  void set(Graph::Vertex v, const loop::BufferRef& buffer) { of_[v] = buffer; }
  loop::BufferRef create(const std::string& name, DType dtype, const Dim& size,
                         loop::Space space = loop::Space::global);
  // `create`, for who knows of no graph.
  loop::NewBuffer maker();
  int add_site(CheckSite site);
  const std::vector<CheckSite>& sites() const { return common_.sites; }
  // What kernels of steps for blocks that wait for each other were made from, by the first buffer
  // that each stores to.
  std::map<int, std::shared_ptr<const StepPart>>& step_parts() { return common_.step_parts; }

 private:
  struct Common {
    int next = 0;
    std::vector<CheckSite> sites;
    std::map<int, std::shared_ptr<const StepPart>> step_parts;
  };
  const Graph& graph_;
  std::unordered_map<Graph::Vertex, loop::BufferRef> of_;
  Common own_;
  Common& common_;
};

// Which vertices' values the checking mode looks at (docs/checking.md).
struct ValueChecks {
  bool wanted = false;
  // By vertex: something else than the sides of a `where` depends on it. Others are looked at where
  // the `where` takes them.
  std::vector<bool> always = {};
};
ValueChecks value_checks(const Graph& graph);

// Evaluates vertices inside the kernel of one cluster.
class KernelContext {
 public:
  KernelContext(const Graph& graph, const Fusion& fusion, const Cluster& cluster,
                BufferTable& buffers, const ValueChecks& checks);

  // A vertex at an index.
  struct Place {
    Graph::Vertex vertex;
    Index index;
    bool operator==(const Place&) const = default;
  };
  // The value of v at `index`: computed if v belongs to this cluster, loaded if it is stored.
  loop::Expr value(Graph::Vertex v, const Index& index);
  // What `then` gives where the condition holds, what `otherwise` gives elsewhere: what either
  // loads is loaded there only.
  loop::Expr choose(const loop::Expr& condition, const std::function<loop::Expr()>& then,
                    const std::function<loop::Expr()>& otherwise);
  // From now on v's value at that index is this expression: an accumulator, a tile's element.
  void set_value(const Place& place, const loop::Expr& value);
  // What has been computed since values were forgotten (by set_value too), operands before users;
  // not what is computed under a condition only.
  const std::vector<Place>& computed() const { return computed_; }
  void forget_values();

  bool checks_values() const { return checks_.wanted; }
  // Whether all operands of a product or a reduction are finite: then its value must be, too.
  void set_operands_finite(Graph::Vertex v, const loop::Expr& finite) {
    operands_finite_[v] = finite;
  }
  // The expression, which stops the kernel where values are checked and a vertex it is computed
  // from gives what is not finite from operands that are.
  loop::Expr checked(const loop::Expr& value);

  const Graph& graph() const { return graph_; }
  const Cluster& cluster() const { return cluster_; }
  BufferTable& buffers() { return buffers_; }
  bool computes(Graph::Vertex v) const { return members_.count(v) != 0; }
  loop::Stmt store_root(Graph::Vertex v, const Index& index);
  loop::Expr check_index(Graph::Vertex v, const loop::Expr& index, const Dim& size, int axis);
  // That it is not negative.
  loop::Expr check_position(Graph::Vertex v, const loop::Expr& position, const Dim& size, int axis);
  loop::Expr check(Graph::Vertex v, const loop::Expr& value, const loop::Expr& condition,
                   const loop::Expr& index, const loop::Expr& size, const std::string& text);
  // The sum of the members' costs of one element, at least 1.
  std::int64_t cost() const;

 private:
  struct PlaceHash {
    std::size_t operator()(const Place& place) const;
  };
  using Values = std::unordered_map<Place, loop::Expr, PlaceHash>;
  // An expression that is the value of a vertex, and when that is to be finite.
  struct Result {
    Place place;
    loop::Expr value;
    loop::Expr operands_finite;
  };
  int value_site(Graph::Vertex v);
  int check_site(Graph::Vertex v, const Dim& size, int axis);
  loop::Expr load(Graph::Vertex v, const Dims& shape, const Index& index);

  const Graph& graph_;
  const Fusion& fusion_;
  const Cluster& cluster_;
  BufferTable& buffers_;
  const ValueChecks& checks_;
  std::unordered_map<Graph::Vertex, loop::Expr> operands_finite_;
  // By the expressions, where values are checked: those given by set_value, those in memo_.
  std::unordered_map<const loop::ExprNode*, Result> given_results_, results_;
  std::unordered_map<Graph::Vertex, int> value_sites_;
  std::unordered_set<Graph::Vertex> members_;
  Values fixed_;
  loop::Expr condition_;  // under which values are computed now; null: always
  std::unordered_map<loop::Expr, Values> memo_;  // by the condition
  std::vector<Place> computed_;                  // those that are always computed
  std::map<std::pair<Graph::Vertex, int>, int> check_sites_;
  std::map<std::pair<Graph::Vertex, std::string>, int> text_sites_;
};

loop::Expr linear_index(const Dims& shape, const Index& index);

// The index with 0 in those of the axes that are known to have one element: what broadcasts read of
// them.
Index without_ones(Index index, const std::vector<std::size_t>& axes, const Dims& shape);

// Whether a floating value is neither NaN nor infinite.
loop::Expr is_finite(const loop::Expr& value);

// Fills in the kernel's buffer lists from its statements.
void collect_buffers(loop::Kernel& kernel);

// Which clusters a program for the machine is made of.
Fusion fuse_for(const Graph& graph, const Machine& machine, const LoweringOptions& options);

// One per kind of cluster. Kernels come in the order they must run in.
std::vector<loop::Kernel> lower_loops(KernelContext& context, const Machine& machine);
// `candidates`: null, or the kernels are several ways to the same, and it gets the number of each
// one's way; nothing if there is one way only.
std::vector<loop::Kernel> lower_contraction(KernelContext& context, const Machine& machine,
                                            const LoweringOptions& options,
                                            std::vector<int>* candidates = nullptr);
// Whether the device has a kernel for it.
bool computes_attention(const AttentionOperands& operands, const Machine& machine);
std::vector<loop::Kernel> lower_attention(KernelContext& context, const Machine& machine);
bool computes_pairs(const PairOperands& operands, const Machine& machine);
std::vector<loop::Kernel> lower_pairs(KernelContext& context, const Machine& machine);
std::vector<loop::Kernel> lower_write(KernelContext& context, const Machine& machine);
loop::Kernel copy_kernel(const loop::BufferRef& from, const loop::BufferRef& to,
                         const Machine& machine);
// Schedules for kernels without one of their own: vectors and threads, or blocks of threads. Given
// a table for the buffers it makes, it runs loops around reductions in blocks.
loop::Kernel schedule(const loop::Kernel& kernel, const Machine& machine,
                      BufferTable* buffers = nullptr);

}  // namespace kroton
