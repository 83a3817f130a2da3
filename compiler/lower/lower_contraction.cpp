// Contractions: which sums of products there are, and the kernels that compute them.
#include <algorithm>
#include <optional>

#include "compiler/contraction/gpu_step_tiles.h"
#include "compiler/contraction/gpu_tiles.h"
#include "compiler/contraction/scattered_windows.h"
#include "compiler/contraction/tiles.h"
#include "compiler/contraction/winograd.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/traverse.h"
#include "compiler/lower/gpu_contraction.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/vector_products.h"
#include "compiler/ops/attribute_views.h"
#include "compiler/ops/records.h"

namespace kroton {
namespace {

// The product of sizes, if they are known.
std::optional<std::int64_t> known_count(const Dims& sizes) {
  const Dim count = element_count(sizes);
  return count.is_constant() ? std::optional(count.constant()) : std::nullopt;
}

Dims sizes_of(const AxisList& axes) {
  Dims sizes;
  for (const Axis& axis : axes) sizes.push_back(axis.extent);
  return sizes;
}

// The sums of the cluster's contraction, with what the cluster does with them.
class ContractionMaker {
 public:
  explicit ContractionMaker(KernelContext& context) : context_(context) {
    const Graph& graph = context.graph();
    const Cluster& cluster = context.cluster();
    const Graph::Vertex hero = cluster.hero;
    const OpRecord& op = *graph[hero].op;
    const Attributes& attributes = graph[hero].attributes;
    const Graph::Vertex operands[] = {graph.operand(hero, 0), graph.operand(hero, 1)};
    roles_ = op.roles(attributes, graph[operands[0]].type.shape, graph[operands[1]].type.shape);
    c_.dtype = graph[hero].type.dtype;
    // Along an axis of one element there is nothing to loop over.
    for (const std::size_t axis : roles_.batch) {
      if (cluster.domain[axis].is_constant(1)) {
        ones_.push_back({cluster.variables[axis], loop::integer(0)});
      } else {
        c_.batch.push_back(axis_of(axis));
      }
    }
    c_.rows = axes_of(roles_.rows);
    c_.columns = axes_of(roles_.columns);
    Index inner;
    for (const Dim& size : roles_.inner) {
      c_.inner.push_back({loop::fresh_variable("k"), size});
      inner.push_back(loop::variable(c_.inner.back().variable));
    }
    const Factors factors = op.factors(attributes, cluster.full_point(), inner);
    c_.a = context.value(operands[0], factors[0]);
    c_.b = context.value(operands[1], factors[1]);
    c_.sum = loop::fresh_variable("sum");
    c_.sum.dtype = c_.dtype;
    context.set_value({hero, cluster.full_point()}, loop::variable(c_.sum));
    for (const Graph::Vertex root : cluster.roots) {
      c_.stores.push_back(std::get<loop::Store>(context.store_root(root, cluster.full_point())));
    }
    c_.cost = context.cost();
    substitute(ones_);
  }

  bool has_windows() const { return !roles_.windows.empty(); }
  // Windows over a picture; else, if there are windows, those of a gradient by filters.
  bool has_positions() const { return overlaps_little(roles_, context_.cluster().domain); }

  // What a library has to know of a convolution; nothing without windows, and where the picture is
  // something else than views of memory with zeros around.
  std::optional<WindowAxes> window_axes() const {
    const Graph& graph = context_.graph();
    if (roles_.windows.empty() || roles_.batch.size() > 1) return std::nullopt;
    WindowAxes axes;
    axes.is_gradient = !has_positions();
    if (!c_.batch.empty()) axes.group = c_.batch[0];
    axes.batch = c_.rows[0];
    axes.filter = c_.columns[0];
    axes.channel = c_.inner[0];
    const Graph::Vertex seen = graph.operand(context_.cluster().hero, 0);
    const Dims& shape = graph[seen].type.shape;
    const std::size_t front = shape.size() - roles_.windows.size();
    for (std::size_t k = 0; k < roles_.windows.size(); ++k) {
      const ContractionRoles::Window& window = roles_.windows[k];
      axes.spatial.push_back({axis_of(window.axis), c_.inner[window.inner], window.stride,
                              window.dilation, Dim(0), shape[front + k]});
    }
    const std::optional<PictureInside> inside = picture_inside();
    if (inside) {
      for (std::size_t k = 0; k < axes.spatial.size(); ++k) {
        axes.spatial[k].first = inside->first[k];
        axes.spatial[k].size = inside->size[k];
      }
    }
    // Other conditions than those of the zeros come from nowhere else.
    bool is_inside = inside.has_value();
    for (Graph::Vertex v = seen; context_.computes(v); v = graph.operand(v, 0)) {
      const OpRecord& op = *graph[v].op;
      if (op.kind == OpKind::leaf) break;
      if (&op == &unslice_op) {
        if (!is_inside) return std::nullopt;
        continue;
      }
      if (!op.is_view && &op != &cast_op) return std::nullopt;
      is_inside = false;
    }
    return axes;
  }

  Contraction for_gpu() && {
    if (roles_.windows.empty()) return std::move(c_);
    exchange_operands();
    return std::move(c_);
  }

  // Nothing if this is no convolution whose windows' places are as far apart as its positions.
  std::optional<WindowSums> as_window_sums() const {
    const auto& windows = roles_.windows;
    const bool are = std::all_of(windows.begin(), windows.end(), [](const auto& window) {
      return window.stride == 1 && window.dilation == 1;
    });
    if (windows.empty() || !are) return std::nullopt;
    WindowSums sums{c_, windows.size(), !overlaps_little(roles_, context_.cluster().domain)};
    if (!sums.filters_are_columns) {
      std::swap(sums.contraction.a, sums.contraction.b);
      std::swap(sums.contraction.rows, sums.contraction.columns);
    }
    return sums;
  }

  // What is inside the zeros that the windows see, which are part of this kernel; nothing without
  // them.
  std::optional<PictureInside> picture_inside() const {
    const Graph& graph = context_.graph();
    const std::size_t spatial = roles_.windows.size();
    Graph::Vertex v = graph.operand(context_.cluster().hero, 0);
    const Dims& seen = graph[v].type.shape;
    const std::size_t front = seen.size() - spatial;
    PictureInside inside{std::vector<Dim>(spatial, Dim(0)),
                         {seen.begin() + static_cast<std::ptrdiff_t>(front), seen.end()}};
    bool is_inside = false;
    while (graph[v].op == &unslice_op && context_.computes(v)) {
      const Attributes& placed = graph[v].attributes;
      const Graph::Vertex x = graph.operand(v, 0);
      const std::vector<std::int64_t> steps = slice_steps(placed);
      for (std::size_t axis = 0; axis < seen.size(); ++axis) {
        const bool is_spatial = axis >= front;
        if (steps[axis] != 1 || (!is_spatial && !placed.dims[axis].is_constant(0)))
          return std::nullopt;
        if (!is_spatial) continue;
        inside.first[axis - front] = inside.first[axis - front] + placed.dims[axis];
        inside.size[axis - front] = graph[x].type.shape[axis];
      }
      is_inside = true;
      v = x;
    }
    return is_inside ? std::optional(inside) : std::nullopt;
  }

  Contraction for_cpu(const Machine& machine) && {
    if (roles_.windows.empty()) return std::move(c_);
    const std::int64_t lanes = machine.vector_bytes / static_cast<std::int64_t>(size_of(c_.dtype));
    if (overlaps_little(roles_, context_.cluster().domain)) {
      make_positions_columns(lanes);
    } else {
      make_filters_columns();
    }
    if (c_.positions.empty()) {
      drop_ones(c_.inner);
      drop_ones(c_.rows);
      if (c_.rows.size() > 1) merge_outer_inner();
    }
    return std::move(c_);
  }

 private:
  Axis axis_of(std::size_t axis) const {
    return {context_.cluster().variables[axis], context_.cluster().domain[axis]};
  }
  AxisList axes_of(const std::vector<std::size_t>& axes) const {
    AxisList list;
    for (const std::size_t axis : axes) list.push_back(axis_of(axis));
    return list;
  }

  void substitute(const Places& places) {
    if (places.empty()) return;
    c_.a = loop::substitute(c_.a, places);
    c_.b = loop::substitute(c_.b, places);
    for (loop::Store& store : c_.stores) {
      store.index = loop::substitute(store.index, places);
      store.value = loop::substitute(store.value, places);
    }
  }

  // Windows of one place along an axis: nothing to loop over, and no order of elements.
  void drop_ones(AxisList& axes) {
    Places ones;
    std::erase_if(axes, [&](const Axis& axis) {
      if (!axis.extent.is_constant(1)) return false;
      ones.push_back({axis.variable, loop::integer(0)});
      return true;
    });
    if (axes.empty()) axes.push_back({loop::fresh_variable("k"), Dim(1)});
    substitute(ones);
  }

  // All inner axes but the last as one, which is cut into runs.
  void merge_outer_inner() {
    if (c_.inner.size() < 3) return;
    const AxisList outer(c_.inner.begin(), c_.inner.end() - 1);
    const loop::Variable merged = loop::fresh_variable("k");
    std::vector<loop::Variable> variables;
    std::vector<loop::Expr> extents;
    for (const Axis& axis : outer) {
      variables.push_back(axis.variable);
      extents.push_back(loop::size(axis.extent));
    }
    const Places places = loop::unflatten(variables, extents, loop::variable(merged));
    c_.a = loop::substitute(c_.a, places);
    c_.b = loop::substitute(c_.b, places);
    c_.inner = {{merged, count(outer)}, c_.inner.back()};
  }

  void exchange_operands() {
    std::swap(c_.a, c_.b);
    std::swap(c_.rows, c_.columns);
  }

  AxisList positions() const {
    AxisList list;
    for (const ContractionRoles::Window& window : roles_.windows) {
      list.push_back(axis_of(window.axis));
    }
    return list;
  }

  static bool fills_vectors_badly(const Dims& sizes, std::int64_t lanes) {
    constexpr double well = 0.85;
    const auto count = known_count(sizes);
    return count && *count != 0 &&
           static_cast<double>(*count) <
               well * static_cast<double>((*count + lanes - 1) / lanes * lanes);
  }

  // Rows are the filters, columns the positions, one axis for all of them: of a picture, or of
  // several if one has too few.
  void make_positions_columns(std::int64_t lanes) {
    exchange_operands();
    AxisList places = positions(), pictures;
    for (const Axis& axis : c_.columns) {
      const bool is_position = std::any_of(places.begin(), places.end(), [&](const Axis& place) {
        return place.variable == axis.variable;
      });
      if (!is_position) pictures.push_back(axis);
    }
    const bool is_merged = fills_vectors_badly(sizes_of(places), lanes);
    AxisList& to = is_merged ? places : c_.batch;
    to.insert(is_merged ? to.begin() : to.end(), pictures.begin(), pictures.end());
    const loop::Variable column = loop::fresh_variable("q");
    std::vector<loop::Variable> variables;
    std::vector<loop::Expr> extents;
    for (const Axis& axis : places) {
      variables.push_back(axis.variable);
      extents.push_back(loop::size(axis.extent));
    }
    const Places at = loop::unflatten(variables, extents, loop::variable(column));
    c_.columns = {{column, count(places)}};
    for (loop::Store& store : c_.stores) {
      store.index = loop::substitute(store.index, at);
      store.value = loop::substitute(store.value, at);
      store = simplified(store);
    }
    const loop::Expr b =
        simplified({c_.stores[0].buffer, loop::integer(0), loop::substitute(c_.b, at)}).value;
    if (is_contiguous(b, c_.columns[0])) {  // a window of one place
      c_.form = "convolution as a matrix product";
      c_.b = b;
      return;
    }
    c_.form = "convolution with positions as columns";
    c_.positions = std::move(places);
    const ContractionRoles::Window& first = roles_.windows[0];
    if (!is_merged && first.stride == 1 && !roles_.inner[first.inner].is_constant(1)) {
      c_.overlap = {first.inner, first.dilation};
    }
  }

  // With indices in the simplest form that they have inside the axes' loops.
  loop::Store simplified(loop::Store store) const {
    loop::Block block{std::move(store)};
    for (const AxisList& axes : {c_.inner, c_.columns, c_.rows, c_.batch}) {
      std::vector<loop::Variable> variables;
      Dims extents;
      for (const Axis& axis : axes) {
        variables.push_back(axis.variable);
        extents.push_back(axis.extent);
      }
      block = loop::nest(variables, extents, std::move(block));
    }
    block = loop::simplify_indices(block);
    while (const loop::For* loop = loop::as_for(block[0])) block = loop::Block(loop->body);
    return std::get<loop::Store>(block[0]);
  }

  // Rows are the positions, the longest axis of them the last, which tiles are parts of.
  void make_filters_columns() {
    c_.form = "convolution with filters as columns";
    const auto length = [](const Axis& axis) {
      return axis.extent.is_constant() ? axis.extent.constant() : 64;
    };
    std::stable_sort(c_.rows.begin(), c_.rows.end(),
                     [&](const Axis& x, const Axis& y) { return length(x) < length(y); });
  }

  KernelContext& context_;
  ContractionRoles roles_;
  Contraction c_;
  Places ones_;
};

// A kernel that copies A to a buffer of its own, (batch, rows, inner), where the contraction then
// reads it: along the axes that it has.
loop::Kernel copy_a(Contraction& c, const Machine& machine, BufferTable& buffers) {
  std::vector<loop::Variable> variables;
  Dims extents;
  Index index;
  for (const AxisList& axes : {c.batch, c.rows, c.inner}) {
    for (const Axis& axis : axes) {
      if (!loop::depends_on(c.a, axis.variable)) continue;
      variables.push_back(axis.variable);
      extents.push_back(axis.extent);
      index.push_back(loop::variable(axis.variable));
    }
  }
  const loop::Expr place = linear_index(extents, index);
  const loop::BufferRef copy = buffers.create("a", c.dtype, element_count(extents));
  loop::Kernel kernel;
  kernel.body = loop::nest(variables, extents, {loop::Store{copy, place, c.a}});
  kernel.work = loop::size(element_count(extents));
  c.a = loop::load(copy, place);
  return schedule(kernel, machine, &buffers);
}

// Threads of one block, and the fewest products that one of them adds up where others could share
// them: the parts' sums go through memory and are added behind a barrier.
constexpr std::int64_t threads_of_block = 512;
constexpr std::int64_t products_of_part = 16;

loop::Kernel each_result(const Contraction& c, const loop::Expr& added, const AxisList& parts,
                         const Machine& machine, BufferTable& buffers) {
  return schedule(loops_of_sums(c, added, parts), machine, &buffers);
}

// Few results of long sums are added in parts, so that all threads have some: a kernel for the
// parts' sums and one that adds them. Sizes that are not known are taken for small.
std::vector<loop::Kernel> in_one_block(const Contraction& c, const Machine& machine,
                                       BufferTable& buffers) {
  std::int64_t results = 1;
  AxisList axes_of_results;
  for (const AxisList* axes : {&c.batch, &c.rows, &c.columns}) {
    axes_of_results.insert(axes_of_results.end(), axes->begin(), axes->end());
  }
  Dims shape;
  Index index;
  for (const Axis& axis : axes_of_results) {
    if (axis.extent.is_constant()) results *= std::max<std::int64_t>(axis.extent.constant(), 1);
    shape.push_back(axis.extent);
    index.push_back(loop::variable(axis.variable));
  }
  const auto length = [](const Axis& axis) {
    return axis.extent.is_constant() ? axis.extent.constant() : std::int64_t{0};
  };
  const auto longest =
      std::max_element(c.inner.begin(), c.inner.end(),
                       [&](const Axis& x, const Axis& y) { return length(x) < length(y); });
  std::int64_t parts = std::min(threads_of_block / results, length(*longest) / products_of_part);
  while (parts > 1 && length(*longest) % parts != 0) --parts;
  if (parts < 2) return {each_result(c, c.a * c.b, {}, machine, buffers)};

  shape.insert(shape.begin(), parts);
  const Axis part{loop::fresh_variable("part"), parts};
  index.insert(index.begin(), loop::variable(part.variable));
  const loop::BufferRef sums = buffers.create("parts", c.sum.dtype, element_count(shape));
  const loop::Expr place = linear_index(shape, index);
  Contraction first = c, second = c;
  const std::int64_t each = length(*longest) / parts;
  Axis& cut = first.inner[static_cast<std::size_t>(longest - c.inner.begin())];
  const loop::Expr added = loop::substitute(
      c.a * c.b, {{cut.variable, loop::variable(part.variable) * loop::integer(each) +
                                     loop::variable(cut.variable)}});
  cut.extent = each;
  first.stores = {loop::Store{sums, place, loop::variable(c.sum)}};
  first.cost = 0;
  second.inner = {part};
  loop::Kernel of_parts = each_result(first, added, {part}, machine, buffers);
  of_parts.work = loop::size(c.work());
  loop::Kernel of_results = each_result(second, loop::load(sums, place), {}, machine, buffers);
  of_results.work = loop::integer(0);
  return {std::move(of_parts), std::move(of_results)};
}

}  // namespace

std::vector<loop::Kernel> lower_contraction(KernelContext& context, const Machine& machine,
                                            const LoweringOptions& options,
                                            std::vector<int>* candidates) {
  ContractionMaker maker(context);
  const loop::NewBuffer new_buffer = context.buffers().maker();
  if (machine.one_block) {
    return in_one_block(std::move(maker).for_gpu(), machine, context.buffers());
  }
  if (machine.waiting_blocks) {
    const Contraction c = std::move(maker).for_gpu();
    const GpuTilePlan plan = plan_waiting_tiles(c, machine);
    const auto note = [&](loop::Kernel kernel) {
      collect_buffers(kernel);
      if (plan.units || kernel.outputs.empty()) return;
      context.buffers().step_parts()[kernel.outputs[0]->id] =
          std::make_shared<const StepPart>(StepPart{c, plan.is_in_parts()});
    };
    if (plan.is_in_parts()) {
      GpuPartsKernels built = build_gpu_parts(c, plan, new_buffer);
      note(built.partial);
      return {std::move(built.partial), schedule(built.combine, machine, &context.buffers())};
    }
    loop::Kernel built = build_gpu_tiles(c, plan, new_buffer);
    note(built);
    return {std::move(built)};
  }
  if (machine.gpu) {
    const GpuWindows windows = !maker.has_windows()    ? GpuWindows::none
                               : maker.has_positions() ? GpuWindows::of_picture
                                                       : GpuWindows::of_gradient;
    GpuContractionOptions asked{windows, candidates, std::nullopt, options.products};
    if (windows != GpuWindows::none && options.convolutions && options.convolutions()) {
      asked.axes = maker.window_axes();
    }
    return gpu_contraction(std::move(maker).for_gpu(), asked, machine, context.buffers());
  }
  if (const std::optional<WindowSums> sums = maker.as_window_sums()) {
    const std::vector<int> tiles = winograd_tiles(*sums, machine, options.winograd.most);
    if (!tiles.empty()) {
      std::vector<loop::Kernel> kernels = build_winograd(*sums, tiles, machine, new_buffer);
      const std::string size = std::to_string(*std::max_element(tiles.begin(), tiles.end()));
      for (loop::Kernel& kernel : kernels)
        kernel.form = "convolution in tiles of " + size + " results along each axis";
      return kernels;
    }
    const std::optional<PictureInside> picture = maker.picture_inside();
    if (picture && scatters_windows(*sums, *picture, machine)) {
      std::vector<loop::Kernel> kernels =
          build_scattered_windows(*sums, *picture, machine, new_buffer);
      for (loop::Kernel& kernel : kernels) {
        kernel.form = "convolution of a small picture: products are added up";
      }
      return kernels;
    }
  }
  Contraction c = std::move(maker).for_cpu(machine);
  std::vector<loop::Kernel> kernels;
  if (copies_a(c)) kernels.push_back(copy_a(c, machine, context.buffers()));
  loop::Kernel tiles = build_tiles(c, plan_tiles(c, machine), new_buffer);
  tiles.form = c.form;
  for (loop::Kernel& kernel :
       with_vector_products(c, std::move(tiles), machine, context.buffers())) {
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

}  // namespace kroton
