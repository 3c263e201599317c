from annotations import urls_board, urls_data, urls_design, urls_guess, urls_harms, urls_judging, urls_people

app_name = "annotations"
urlpatterns = [
    *urls_people.urlpatterns,
    *urls_data.urlpatterns,
    *urls_judging.urlpatterns,
    *urls_design.urlpatterns,
    *urls_board.urlpatterns,
    *urls_harms.urlpatterns,
    *urls_guess.urlpatterns,
]
