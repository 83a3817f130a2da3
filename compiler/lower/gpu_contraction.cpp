#include "compiler/lower/gpu_contraction.h"

#include <algorithm>

#include "compiler/contraction/gpu_tiles.h"
#include "compiler/contraction/gpu_windows.h"
#include "compiler/contraction/library_product.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/lower/reduction_parts.h"

namespace kroton {
namespace {

using GpuKernels = std::vector<loop::Kernel>;

GpuKernels with_form(GpuKernels kernels, const std::string& form) {
  for (loop::Kernel& kernel : kernels) kernel.form = form;
  return kernels;
}

class GpuContractionMaker {
 public:
  GpuContractionMaker(const Contraction& c, const GpuContractionOptions& options,
                      const Machine& machine, BufferTable& buffers)
      : c_(c),
        axes_(options.axes),
        products_(options.products),
        machine_(machine),
        buffers_(buffers),
        library_(library_product(c)),
        convolution_(axes_ ? library_convolution(c, *axes_) : nullptr) {
    const GpuTilePlan first = plan_gpu_tiles(c, machine).front();
    if (first.units) element_ = first.element;
    // Matrix units multiply so much faster that the order of windows is no matter.
    if (options.windows == GpuWindows::none || element_) return;
    windows_ = plan_gpu_windows(c, options.windows == GpuWindows::of_picture);
  }

  // As the model chooses.
  GpuKernels planned() {
    if (convolution_) {
      planned_form_ = convolution_form;
      return with_form({convolution_kernel(c_, convolution_)}, planned_form_);
    }
    if (axes_ && pays_for_rest()) {
      if (auto kernels = convolution_and_rest()) {
        planned_form_ = convolution_rest_form;
        return with_form(*std::move(kernels), planned_form_);
      }
    }
    return windows_ ? planned_windows(*windows_) : planned_products();
  }

  // How that is called in messages.
  const std::string& planned_form() const { return planned_form_; }

  // All other ways.
  std::vector<GpuKernels> others() {
    std::vector<GpuKernels> all;
    const auto add = [&](GpuKernels kernels, const std::string& form) {
      if (form != planned_form_) all.push_back(with_form(std::move(kernels), form));
    };
    if (library_) {
      GpuKernels kernels{
          build_gpu_tiles(c_, plan_gpu_tiles(c_, machine_, true).front(), buffers_.maker())};
      kernels.back().instead = library_;
      add(std::move(kernels), library_form);
    } else if (auto kernels = library_and_rest(1)) {
      add(*std::move(kernels), library_rest_form);
    }
    if (axes_ && !convolution_) {
      if (auto kernels = convolution_and_rest()) add(*std::move(kernels), convolution_rest_form);
    }
    if (windows_) {
      add({build_gpu_windows(c_, *windows_, buffers_.maker())}, form_of(*windows_));
      if (const auto parts = plan_gpu_window_parts(c_, *windows_, true)) {
        add(in_parts(build_gpu_window_parts(c_, *parts, buffers_.maker())),
            form_of(*windows_) + in_parts_form);
      }
    }
    for (const GpuTilePlan& plan : plan_gpu_tiles(c_, machine_, true)) {
      add({build_gpu_tiles(c_, plan, buffers_.maker())}, plan.to_string());
      if (const auto parts = plan_gpu_parts(c_, plan, true)) {
        add(in_parts(build_gpu_parts(c_, *parts, buffers_.maker())),
            plan.to_string() + in_parts_form);
      }
    }
    return all;
  }

 private:
  static constexpr const char* in_parts_form = ", in parts";
  static constexpr const char* by_sizes_form = "by the sizes";
  static constexpr const char* library_form = "the library's product";
  static constexpr const char* library_rest_form = "the library's product, then the rest";
  static constexpr const char* convolution_form = "the library's convolution";
  static constexpr const char* convolution_rest_form = "the library's convolution, then the rest";

  static std::string form_of(const GpuWindowPlan& plan) {
    return "convolution in " + plan.to_string();
  }

  GpuKernels in_parts(GpuPartsKernels built) {
    return {std::move(built.partial), schedule(built.combine, machine_, &buffers_)};
  }
  // Which run where the flag is 1.
  GpuKernels in_parts(GpuPartsKernels built, const Dim& flag) {
    built.combine.body = only_if(flag, std::move(built.combine.body));
    return in_parts(std::move(built));
  }

  // One kernel, or two, or three.
  GpuKernels planned_windows(GpuWindowPlan plan) {
    GpuKernels kernels;
    if (const std::optional<GpuWindowPlan> parts = plan_gpu_window_parts(c_, plan)) {
      kernels =
          in_parts(build_gpu_window_parts(c_, *parts, buffers_.maker()), parts->tile.are_wanted);
      if (parts->tile.are_wanted.is_constant(1)) planned_form_ = form_of(plan) + in_parts_form;
      plan.tile.are_wanted = 1 - parts->tile.are_wanted;
    }
    if (!plan.tile.are_wanted.is_constant(0)) {
      kernels.push_back(build_gpu_windows(c_, plan, buffers_.maker()));
      if (kernels.size() == 1) planned_form_ = form_of(plan);
    }
    return with_form(std::move(kernels), form_of(plan));
  }

  // One kernel that a library may replace, or the library's product with a kernel behind it; else,
  // where that is better, two that share out the inner elements, or several if the sizes decide.
  GpuKernels planned_products() {
    if (library_) {
      // In place of the library's product it is for what that refuses.
      planned_form_ = library_form;
      GpuTilePlan plan = plan_gpu_tiles(c_, machine_).front();
      plan.are_wanted = 1;
      GpuKernels kernels{build_gpu_tiles(c_, plan, buffers_.maker())};
      kernels.back().instead = library_;
      return kernels;
    }
    std::vector<GpuTilePlan> plans = plan_gpu_tiles(c_, machine_);
    GpuKernels kernels;
    if (auto by_library = library_and_rest_where_it_pays()) {
      kernels = std::move(by_library->kernels);
      planned_form_ = library_rest_form;
      if (by_library->are_wanted.is_constant(1)) return kernels;
      for (GpuTilePlan& plan : plans) {
        plan.are_wanted = plan.are_wanted * (1 - by_library->are_wanted);
      }
    }
    const auto name = [&](const std::string& form) {
      planned_form_ = kernels.empty() ? form : by_sizes_form;
    };
    GpuTilePlan& plan = plans.front();
    if (const std::optional<GpuTilePlan> parts = plan_gpu_parts(c_, plan)) {
      name(plan.to_string() + in_parts_form);
      for (loop::Kernel& kernel :
           in_parts(build_gpu_parts(c_, *parts, buffers_.maker()), parts->are_wanted)) {
        kernels.push_back(std::move(kernel));
      }
      plan.are_wanted = plan.are_wanted - parts->are_wanted;
    }
    for (const GpuTilePlan& one : plans) {
      if (one.are_wanted.is_constant(0)) continue;
      name(one.to_string());
      kernels.push_back(build_gpu_tiles(c_, one, buffers_.maker()));
    }
    return kernels;
  }

  // In the library's place, for what it refuses.
  loop::Kernel convolution_kernel(const Contraction& c,
                                  const std::shared_ptr<const LibraryProduct>& library) {
    loop::Kernel kernel =
        windows_ ? build_gpu_windows(c, *windows_, buffers_.maker())
                 : build_gpu_tiles(c, plan_gpu_tiles(c, machine_, true).front(), buffers_.maker());
    kernel.instead = library;
    return kernel;
  }

  // Writing and reading a result once more takes as long as a library saves with so many products.
  static constexpr std::int64_t products_of_rest = 128;
  bool pays_for_rest() const {
    const Dim products = count(c_.inner);
    return !products.is_constant() || products.constant() >= products_of_rest;
  }

  // The sums of products alone, into memory along these axes; of none where they are not wanted.
  Contraction bare(const AxisList& axes, const Dim& are_wanted = 1) {
    loop::Expr at = loop::integer(0);
    for (const Axis& axis : axes) {
      at = at * loop::size(axis.extent) + loop::variable(axis.variable);
    }
    Contraction result = c_;
    result.cost = 0;
    result.stores.clear();
    result.stores.push_back({buffers_.create("product", c_.dtype, count(axes) * are_wanted), at,
                             loop::variable(c_.sum)});
    return result;
  }
  // What is done to them afterwards.
  loop::Kernel rest_of(const Contraction& bare, const Dim& are_wanted = 1) {
    const loop::Store& sum = bare.stores[0];
    loop::Block body = loop::substitute(loop::Block(c_.stores.begin(), c_.stores.end()),
                                        Places{{c_.sum, loop::load(sum.buffer, sum.index)}});
    loop::Kernel rest;
    rest.body = only_if(are_wanted, simplify_indices(over_results(c_, std::move(body))));
    rest.work = loop::size(sum.buffer->size * Dim(c_.cost + 1));
    return schedule(rest, machine_, &buffers_);
  }

  // Nothing if the library computes no such product.
  std::optional<GpuKernels> library_and_rest(const Dim& are_wanted) {
    AxisList axes = c_.batch;
    axes.insert(axes.end(), c_.rows.begin(), c_.rows.end());
    axes.insert(axes.end(), c_.columns.begin(), c_.columns.end());
    const Contraction product = bare(axes, are_wanted);
    const std::shared_ptr<const LibraryProduct> library = library_product(product);
    if (!library) return std::nullopt;
    GpuTilePlan plan = plan_gpu_tiles(product, machine_, true).back();
    plan.are_wanted = are_wanted;
    GpuKernels kernels{build_gpu_tiles(product, plan, buffers_.maker())};
    kernels.back().instead = library;
    kernels.push_back(rest_of(product, are_wanted));
    return kernels;
  }

  struct WhereItPays {
    GpuKernels kernels;
    Dim are_wanted;  // or 0, perhaps not known before the sizes are
  };
  // The library multiplies half as fast again as kernels of ours. Against that stand a launch, and
  // that the products are written and read once more.
  std::optional<WhereItPays> library_and_rest_where_it_pays() {
    constexpr std::int64_t of_launch = 100'000'000;
    const std::int64_t speed = !element_ ? 1 : is_only_stored(*element_) ? 16 : 8;
    const Dim results = count(c_.batch) * count(c_.rows) * count(c_.columns);
    const Dim more = maximum(0, count(c_.inner) - Dim(products_of_rest * speed));
    const Dim are_wanted = minimum(1, floor_div(results * more, of_launch * speed));
    if (are_wanted.is_constant(0) || !products_ || !products_()) return std::nullopt;
    auto kernels = library_and_rest(are_wanted);
    if (!kernels) return std::nullopt;
    return WhereItPays{with_form(*std::move(kernels), library_rest_form), are_wanted};
  }
  std::optional<GpuKernels> convolution_and_rest() {
    // (batch, filters, positions), of a gradient (filters, channels, places).
    AxisList axes;
    if (!axes_->is_gradient) axes.push_back(axes_->batch);
    if (axes_->group) axes.push_back(*axes_->group);
    axes.push_back(axes_->filter);
    if (axes_->is_gradient) axes.push_back(axes_->batch);
    for (const WindowAxes::Spatial& axis : axes_->spatial) axes.push_back(axis.position);
    const Contraction sums = bare(axes);
    const std::shared_ptr<const LibraryProduct> library = library_convolution(sums, *axes_);
    if (!library) return std::nullopt;
    return GpuKernels{convolution_kernel(sums, library), rest_of(sums)};
  }

  const Contraction& c_;
  const std::optional<WindowAxes>& axes_;
  const std::function<bool()>& products_;
  const Machine& machine_;
  BufferTable& buffers_;
  const std::shared_ptr<const LibraryProduct> library_, convolution_;
  std::optional<GpuWindowPlan> windows_;
  std::optional<DType> element_;  // of what matrix units multiply
  std::string planned_form_ = by_sizes_form;
};

}  // namespace

std::vector<loop::Kernel> gpu_contraction(const Contraction& contraction,
                                          const GpuContractionOptions& options,
                                          const Machine& machine, BufferTable& buffers) {
  GpuContractionMaker maker(contraction, options, machine, buffers);
  GpuKernels kernels = maker.planned();
  std::vector<int>* const candidates = options.candidates;
  if (!candidates) return kernels;
  candidates->clear();
  kernels = with_form(std::move(kernels), maker.planned_form());
  std::vector<int> ways(kernels.size(), 0);
  int way = 0;
  for (GpuKernels& other : maker.others()) {
    ++way;
    for (loop::Kernel& kernel : other) {
      kernels.push_back(std::move(kernel));
      ways.push_back(way);
    }
  }
  if (way > 0) *candidates = std::move(ways);
  return kernels;
}

}  // namespace kroton
