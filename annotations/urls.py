from annotations import urls_data, urls_judging, urls_people

app_name = "annotations"
urlpatterns = [*urls_people.urlpatterns, *urls_data.urlpatterns, *urls_judging.urlpatterns]
