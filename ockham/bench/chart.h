// Plots of points and lines as SVG in the style of the report's page; private to ockham/bench.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ockham {

struct Axis {
  std::string title;
  double low = 0, high = 1;
  bool is_log = false;  // low > 0 then
  std::vector<std::pair<double, std::string>> ticks;
};
// From `low` to `high`, ticks at powers of ten where logarithmic (and 2 and 5 where few), else at round numbers.
Axis log_axis(std::string title, double low, double high);
Axis linear_axis(std::string title, double low, double high);

class Plot {
 public:
  Plot(std::string label, Axis x, Axis y);  // label: for those who do not see the picture

  enum class Mark { kCircle, kSquare, kRing };
  void point(double x, double y, const std::string& colour, Mark mark, const std::string& tip);
  // Beside the last point, where no other label is.
  void label(const std::string& text);
  void line(const std::vector<std::pair<double, double>>& points, const std::string& colour, bool is_dashed);
  // Text above a place of the plot, to the right.
  void text(double x, double y, const std::string& what);
  std::string svg() const;

 private:
  struct Box {
    double x0, y0, x1, y1;
  };
  double px(double x) const;
  double py(double y) const;
  bool take(const Box& box);

  std::string label_, lines_, points_, texts_;
  Axis x_, y_;
  std::vector<Box> taken_;
  double last_x_ = 0, last_y_ = 0;
};

}  // namespace ockham
